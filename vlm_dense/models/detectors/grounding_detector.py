"""Detection as phrase grounding: one-stage detector that reads the words of the request as a sentence.

Shapes: B images, G ground truths, L tokens.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from torch import Tensor

from vlm_dense.models.detectors.training_texts import TrainingTexts, read_texts
from vlm_dense.models.grounding import PromptTokens
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
        masked_words: Config of a `MaskedWords`: hide words of the training prompts, and predict them from the states
            that scores are made of, which are the fused ones where the head fuses (GLIPv2, arXiv:2206.05836). Regions
            learn from the prompts with hidden words then, as in its release.
        parts: mmdet's ``backbone``, ``neck``, ``bbox_head`` (a `GroundingHead`), ``train_cfg``, ``test_cfg``,
            ``data_preprocessor`` and ``init_cfg``.
    """

    def __init__(
        self,
        language_model: Any,
        clean_names: bool = True,
        described: Mapping[str, Mapping[str, str]] | None = None,
        masked_words: Any = None,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self.language_model = MODELS.build(language_model)
        self.clean_names = clean_names
        self.described = dict(described or {})
        self.masked_words = None if masked_words is None else MODELS.build(masked_words)
        if self.masked_words is not None:
            self.masked_words.tie(self.language_model.word_embedding)
        self._packed: OrderedDict[tuple[str, int | None], list[Prompt]] = OrderedDict()

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Any]:
        """Losses of the head, and ``masked_words.loss_mlm`` where words are masked.

        Afterwards ``gt_instances.positive_maps`` are (G, L), 1 at the tokens of each object's word.

        Args:
            batch_inputs: Normalised pictures (B, 3, H, W).
            batch_data_samples: Samples with words, the same or different ones.

        Raises:
            VocabularyError: If the words of a sample take more tokens than a prompt holds, or the prompt that it brings
                does not ask for the word of one of its objects.
        """
        texts = self._read(batch_data_samples)
        maps = self.extract_feat(batch_inputs)
        if self.masked_words is None:
            return self.bbox_head.loss(maps, self.language_model(texts.ids_BL), batch_data_samples, texts.words)
        masked = self.masked_words.mask(texts.ids_BL, texts.may_hide_BL)
        text = self.language_model(masked.ids_BL)
        found = self.bbox_head(maps, text)
        losses = self.bbox_head.losses_of(found, maps, text, batch_data_samples, texts.words)
        return {**losses, 'masked_words.loss_mlm': self.masked_words.loss(found.text_BLT, masked)}

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
            VocabularyError: If a word alone takes more tokens than a prompt holds.
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
        text = self.language_model(self._read(batch_data_samples).ids_BL)
        return self.bbox_head(self.extract_feat(batch_inputs), text)

    def _requests(self, samples: Sequence[DetDataSample]) -> list[tuple[list[int], list[PromptTokens]]]:
        """Places of the samples that ask for the same, with the prompts that ask for it."""
        asked: dict[Any, tuple[list[int], list[Prompt]]] = {}
        for place, (sample, vocabulary) in enumerate(zip(samples, vocabularies_of(samples), strict=True)):
            own = sample.get('prompt')
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

    def _read(self, samples: Sequence[DetDataSample]) -> TrainingTexts:
        """The prompt of each sample as tokens; the samples get the positive maps of their objects."""
        model = self.language_model
        vocabularies = vocabularies_of(samples)
        prompts = [
            sample.get('prompt') or one_prompt(self._texts(vocabulary), model.count_tokens, model.max_tokens)
            for sample, vocabulary in zip(samples, vocabularies, strict=True)
        ]
        return read_texts(samples, vocabularies, prompts, model)
