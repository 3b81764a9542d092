"""Pipeline steps for requests by words."""

from typing import Any

from mmcv.transforms import BaseTransform

from vlm_dense.errors import ConfigError
from vlm_dense.registry import TRANSFORMS
from vlm_dense.text.phrase_vocabulary import phrase_vocabulary
from vlm_dense.text.prompt_packing import caption_prompt
from vlm_dense.text.vocabulary import Vocabulary


@TRANSFORMS.register_module()
class AttachVocabulary(BaseTransform):
    """Put the words of the request on the data sample, under ``vocabulary`` in its metainfo.

    Place it last, after ``PackDetInputs`` or ``PackSegInputs``. Labels of the sample are indices into these words, so
    a data set of base boxes takes ``dict(file=..., only='base')`` here and in its own ``vocabulary``.

    Without a vocabulary every sample asks for the ``phrases`` in its metainfo, which `PhraseGroundingDataset` gives.
    Where their places in the sentence are known too, it is attached as ``prompt``, for models that read it whole.

    Args:
        vocabulary: Anything ``Vocabulary.build`` accepts, or None.

    Raises:
        VocabularyError: If the words cannot be used.
        MissingFileError: If the file with the words is not there.
    """

    def __init__(self, vocabulary: Any = None) -> None:
        self.vocabulary = None if vocabulary is None else Vocabulary.build(vocabulary)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Attach the vocabulary to ``results['data_samples']``.

        Raises:
            ConfigError: If the pipeline has not packed a data sample yet, or there are neither words nor phrases.
        """
        if 'data_samples' not in results:
            raise ConfigError(
                "AttachVocabulary found no 'data_samples'; place it last in the pipeline, after PackDetInputs or "
                'PackSegInputs.'
            )
        sample = results['data_samples']
        sample.set_metainfo(self._own_phrases(sample) if self.vocabulary is None else {'vocabulary': self.vocabulary})
        return results

    def _own_phrases(self, sample: Any) -> dict[str, Any]:
        phrases = sample.get('phrases')
        if not phrases:
            raise ConfigError(
                f'AttachVocabulary has no words, and {sample.get("img_path", "the sample")} brings no phrases; give '
                'vocabulary=..., or a data set whose samples have phrases.'
            )
        vocabulary, rows = phrase_vocabulary(phrases)
        places = sample.get('phrase_places')
        if places is None:
            return {'vocabulary': vocabulary}
        spans: list[list[tuple[int, int]]] = [[] for _ in vocabulary.words]
        for row, own in zip(rows, places, strict=True):
            spans[row].extend(own)
        return {'vocabulary': vocabulary, 'prompt': caption_prompt(sample.get('text'), spans)}

    def __repr__(self) -> str:
        asked = 'phrases of the sample' if self.vocabulary is None else f'{len(self.vocabulary)} words'
        return f'{type(self).__name__}({asked})'
