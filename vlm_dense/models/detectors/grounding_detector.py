"""Detection as phrase grounding: one-stage detector that reads the words of the request as a sentence.

Shapes: B images, G ground truths, K words, L tokens.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from torch import Tensor

from vlm_dense.errors import VocabularyError
from vlm_dense.models.grounding import PromptTokens, TextTokens
from vlm_dense.models.requests import vocabularies_of
from vlm_dense.models.sizes import alone, by_size
from vlm_dense.registry import MODELS
from vlm_dense.text.prompt_packing import Prompt, WordText, clean_name, one_prompt, pack_words, word_texts
from vlm_dense.text.vocabulary import Vocabulary

KEPT_VOCABULARIES = 64


@MODELS.register_module()
class GroundingDetector(SingleStageDetector):
    """GLIP (arXiv:2112.03857): regions are compared with the tokens of a prompt that names all words.

    The words travel on the data samples. A sample may bring a ``prompt`` too, such as a caption with the places of
    its phrases (`vlm_dense.text.prompt_packing.caption_prompt`), whose rows are rows of its vocabulary; otherwise
    prompts are made of the words: one in training, as many as needed when testing. Words of one prompt read each
    other, so their company and their order are part of what is asked. The weights have the names of mmdet's ``GLIP``.

    ``test_cfg.words_per_prompt`` limits the words of a prompt when testing (40 for LVIS in the paper's code); without
    it a prompt is as long as the text window.

    Args:
        language_model: Config of a `TokenLanguageModel`.
        clean_names: Whether words are read without what is in parentheses, and with blanks for underscores, as GLIP
            does.
        described: By word, what is read around it or in its place; see `vlm_dense.text.prompt_packing.word_texts`.
            What is said of words that nobody asks for is not read.
        parts: mmdet's ``backbone``, ``neck``, ``bbox_head`` (a `GroundingHead`), ``train_cfg``, ``test_cfg``,
            ``data_preprocessor`` and ``init_cfg``.
    """

    def __init__(
        self,
        language_model: Any,
        clean_names: bool = True,
        described: Mapping[str, Mapping[str, str]] | None = None,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self.language_model = MODELS.build(language_model)
        self.clean_names = clean_names
        self.described = dict(described or {})
        self._packed: OrderedDict[tuple[str, int | None], list[Prompt]] = OrderedDict()

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Any]:
        """Losses of the head.

        Afterwards ``gt_instances.positive_maps`` are (G, L), 1 at the tokens of each object's word.

        Args:
            batch_inputs: Normalised pictures (B, 3, H, W).
            batch_data_samples: Samples with words, the same or different ones.

        Raises:
            VocabularyError: If the words of a sample take more tokens than a prompt holds, or the prompt that it brings
                does not ask for the word of one of its objects.
        """
        text = self._read(batch_data_samples)
        return self.bbox_head.loss(self.extract_feat(batch_inputs), text, batch_data_samples)

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Detections; labels index the vocabulary of each sample, which stays in its metainfo.

        Pictures that ask for the same are answered together, one size after the other, without the padding that the
        batch gave them.

        Args:
            batch_inputs: Normalised pictures (B, 3, H, W).
            batch_data_samples: Samples with words, the same or different ones, any K.
            rescale: Whether boxes are wanted in pixels of the original image.

        Raises:
            VocabularyError: If a word alone takes more tokens than a prompt holds, or the prompt that a sample brings
                is for another vocabulary.
        """
        for rows, prompts in self._requests(batch_data_samples):
            asking = [batch_data_samples[row] for row in rows]
            pictures = [alone(batch_inputs[row], sample) for row, sample in zip(rows, asking, strict=True)]
            for places, images_B3HW in by_size(pictures):
                samples = [asking[place] for place in places]
                metainfos = [sample.metainfo for sample in samples]
                found = self.bbox_head.predict(self.extract_feat(images_B3HW), prompts, metainfos, rescale)
                self.add_pred_to_datasample(samples, found)
        return batch_data_samples

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> Any:
        return self.bbox_head(self.extract_feat(batch_inputs), self._read(batch_data_samples))

    def _requests(self, samples: Sequence[DetDataSample]) -> list[tuple[list[int], list[PromptTokens]]]:
        """Places of the samples that ask for the same, with the prompts that ask for it."""
        asked: dict[Any, tuple[list[int], list[Prompt]]] = {}
        for place, (sample, vocabulary) in enumerate(zip(samples, vocabularies_of(samples), strict=True)):
            own = _own_prompt(sample, vocabulary)
            key = (vocabulary.content_hash, own)
            if key not in asked:
                asked[key] = ([], self._prompts(vocabulary) if own is None else [own])
            asked[key][0].append(place)
        return [(places, self.language_model.encode(prompts)) for places, prompts in asked.values()]

    def _prompts(self, vocabulary: Vocabulary) -> list[Prompt]:
        """All words of a vocabulary, as `pack_words` spreads them."""
        limit = (self.test_cfg or {}).get('words_per_prompt')
        key = (vocabulary.content_hash, limit)
        if key not in self._packed:
            model = self.language_model
            self._packed[key] = pack_words(self._texts(vocabulary), model.count_tokens, model.max_tokens, limit)
            while len(self._packed) > KEPT_VOCABULARIES:
                self._packed.popitem(last=False)
        self._packed.move_to_end(key)
        return self._packed[key]

    def _texts(self, vocabulary: Vocabulary) -> list[WordText]:
        names = {*vocabulary.words, *map(clean_name, vocabulary.words if self.clean_names else ())}
        known = {word: parts for word, parts in self.described.items() if word in names}
        return word_texts(vocabulary.words, self.clean_names, known)

    def _read(self, samples: Sequence[DetDataSample]) -> TextTokens:
        """The prompt of each sample as tokens, and the positive maps of its objects."""
        model = self.language_model
        rows = []
        maps = []
        for sample, vocabulary in zip(samples, vocabularies_of(samples), strict=True):
            prompt = _own_prompt(sample, vocabulary)
            if prompt is None:
                prompt = one_prompt(self._texts(vocabulary), model.count_tokens, model.max_tokens)
            tokens, is_word_KL = model.tokens(prompt)
            rows.append(tokens.ids)
            maps.append(_objects_tokens(sample, vocabulary, prompt, is_word_KL))
        ids_BL = model.pad(rows)
        for sample, map_GL in zip(samples, maps, strict=True):
            padded_GL = map_GL.new_zeros(len(map_GL), ids_BL.shape[1])
            padded_GL[:, : map_GL.shape[1]] = map_GL
            sample.gt_instances.positive_maps = padded_GL
        return model(ids_BL)


def _own_prompt(sample: DetDataSample, vocabulary: Vocabulary) -> Prompt | None:
    """The prompt that a sample brings, if it brings one."""
    prompt = sample.get('prompt')
    if prompt is not None and max(prompt.rows) >= len(vocabulary):
        raise VocabularyError(
            f'the prompt of a sample asks for row {max(prompt.rows)}, but its vocabulary has {len(vocabulary)} words. '
            'Give it the vocabulary that the prompt was made for, or set prompt=None.'
        )
    return prompt


def _objects_tokens(sample: DetDataSample, vocabulary: Vocabulary, prompt: Prompt, is_word_KL: Tensor) -> Tensor:
    """(G, L) of 0 and 1: the tokens that name each object of a sample."""
    labels_G = sample.gt_instances.labels
    place_V = torch.full((len(vocabulary),), -1)
    place_V[list(prompt.rows)] = torch.arange(len(prompt.rows))
    place_G = place_V[labels_G.cpu()]
    if (place_G < 0).any():
        word = vocabulary.words[int(labels_G[(place_G < 0).nonzero()[0, 0]])]
        raise VocabularyError(
            f"{sample.get('img_path', 'a sample')} has an object '{word}' which its prompt does not ask for. Put the "
            'word into the prompt, or leave the object out.'
        )
    return is_word_KL[place_G].float().to(labels_G.device)
