"""Pipeline steps for requests by words."""

from typing import Any

from mmcv.transforms import BaseTransform

from vlm_dense.errors import ConfigError
from vlm_dense.registry import TRANSFORMS
from vlm_dense.text.vocabulary import Vocabulary


@TRANSFORMS.register_module()
class AttachVocabulary(BaseTransform):
    """Put the words of the request on the data sample, under ``vocabulary`` in its metainfo.

    Place it last, after ``PackDetInputs`` or ``PackSegInputs``. Labels of the sample are indices into these words, so
    a data set of base boxes takes ``dict(file=..., only='base')`` here and in its own ``vocabulary``.

    Args:
        vocabulary: Anything ``Vocabulary.build`` accepts.

    Raises:
        VocabularyError: If the words cannot be used.
        MissingFileError: If the file with the words is not there.
    """

    def __init__(self, vocabulary: Any) -> None:
        self.vocabulary = Vocabulary.build(vocabulary)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Attach the vocabulary to ``results['data_samples']``.

        Raises:
            ConfigError: If the pipeline has not packed a data sample yet.
        """
        if 'data_samples' not in results:
            raise ConfigError(
                "AttachVocabulary found no 'data_samples'; place it last in the pipeline, after PackDetInputs or "
                'PackSegInputs.'
            )
        results['data_samples'].set_metainfo({'vocabulary': self.vocabulary})
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({len(self.vocabulary)} words)'
