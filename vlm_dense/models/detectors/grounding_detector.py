"""Detection as phrase grounding: one-stage detector that reads the words of the request as a sentence.

Shapes: B images, G ground truths, L tokens, V words of a vocabulary, D width of the text bank.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from torch import Tensor

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.models.detectors.training_texts import TrainingTexts, read_texts, token_rows
from vlm_dense.models.grounding import PromptTokens, TextTokens
from vlm_dense.models.requests import vocabularies_of
from vlm_dense.models.sizes import alone, by_size
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.encoders.base import shorten
from vlm_dense.text.prompt_packing import Prompt, WordText, clean_name, one_prompt, pack_words, word_texts
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import TowerBackbone

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
        text_bank: Config of the text bank, or the bank, whose rows a head with a `TowerAlignment` compares with the
            backbone's tower; the backbone is then a `TowerBackbone`. The bank stands outside the module tree.
        parts: mmdet's ``backbone``, ``neck``, ``bbox_head`` (a `GroundingHead`), ``train_cfg``, ``test_cfg``,
            ``data_preprocessor`` and ``init_cfg``.

    Raises:
        ConfigError: If one of text bank, alignment and tower is there without the others.
    """

    def __init__(
        self,
        language_model: Any,
        clean_names: bool = True,
        described: Mapping[str, Mapping[str, str]] | None = None,
        masked_words: Any = None,
        text_bank: Any = None,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self.language_model = MODELS.build(language_model)
        # A plain attribute even where the bank is a module: its weights are not this model's.
        self.__dict__['text_bank'] = build_part(text_bank)
        self._check_alignment()
        self.clean_names = clean_names
        self.described = dict(described or {})
        self.masked_words = None if masked_words is None else MODELS.build(masked_words)
        if self.masked_words is not None:
            self.masked_words.tie(self.language_model.word_embedding)
        self._packed: OrderedDict[tuple[str, int | None], list[Prompt]] = OrderedDict()

    def _check_alignment(self) -> None:
        is_aligned = self.bbox_head.alignment is not None
        if is_aligned and not isinstance(self.backbone, TowerBackbone):
            raise ConfigError(
                f'bbox_head.alignment compares words with a tower, and {type(self.backbone).__name__} is none; take a '
                'vlm_dense.TowerBackbone, or drop the alignment.'
            )
        if is_aligned != (self.text_bank is not None):
            raise ConfigError(
                'GroundingDetector: text_bank and bbox_head.alignment need each other; give both or none.'
            )

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
        maps, cell_BDhw = self._features(batch_inputs)
        if self.masked_words is None:
            text = self._states(texts.ids_BL, texts)
            return self.bbox_head.loss(maps, text, batch_data_samples, cell_BDhw, texts.words)
        masked = self.masked_words.mask(texts.ids_BL, texts.may_hide_BL)
        text = self._states(masked.ids_BL, texts)
        found = self.bbox_head(maps, text, cell_BDhw)
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
            VocabularyError: If a word alone takes more tokens than a prompt holds, or the prompt that a sample brings
                is for another vocabulary.
        """
        for rows, prompts in self._requests(batch_data_samples):
            asking = [batch_data_samples[row] for row in rows]
            pictures = [alone(batch_inputs[row], sample) for row, sample in zip(rows, asking, strict=True)]
            for places, images_B3HW in by_size(pictures):
                samples = [asking[place] for place in places]
                metainfos = [sample.metainfo for sample in samples]
                maps, cell_BDhw = self._features(images_B3HW)
                found = self.bbox_head.predict(maps, prompts, metainfos, rescale, cell_BDhw)
                self.add_pred_to_datasample(samples, found)
        return batch_data_samples

    def _features(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Maps for the head, and (B, D, h, w) of the tower's own opinion where the head asks for it."""
        backbone_maps = self.backbone(images_B3HW)
        cells = (
            None
            if self.bbox_head.alignment is None
            else self.bbox_head.alignment.cells(self.backbone, backbone_maps[-1])
        )
        return self.neck(backbone_maps) if self.with_neck else backbone_maps, cells

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> Any:
        texts = self._read(batch_data_samples)
        maps, cell_BDhw = self._features(batch_inputs)
        return self.bbox_head(maps, self._states(texts.ids_BL, texts), cell_BDhw)

    def _requests(self, samples: Sequence[DetDataSample]) -> list[tuple[list[int], list[PromptTokens]]]:
        """Places of the samples that ask for the same, with the prompts that ask for it."""
        asked: dict[Any, tuple[list[int], list[Prompt], Vocabulary]] = {}
        for place, (sample, vocabulary) in enumerate(zip(samples, vocabularies_of(samples), strict=True)):
            own = _own_prompt(sample, vocabulary)
            key = (vocabulary.content_hash, own)
            if key not in asked:
                asked[key] = ([], self._prompts(vocabulary) if own is None else [own], vocabulary)
            asked[key][0].append(place)
        return [(places, self._encoded(prompts, vocabulary)) for places, prompts, vocabulary in asked.values()]

    def _encoded(self, prompts: list[Prompt], vocabulary: Vocabulary) -> list[PromptTokens]:
        encoded = self.language_model.encode(prompts)
        if self.text_bank is None:
            return encoded
        bank_VD = self.text_bank(vocabulary).to(encoded[0].token_map_KL)
        rows = [token_rows(prompt.token_map_KL > 0, bank_VD[prompt.rows_K]) for prompt in encoded]
        return [
            prompt._replace(text=prompt.text._replace(word_BLD=row_LD[None]))
            for prompt, row_LD in zip(encoded, rows, strict=True)
        ]

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
            _own_prompt(sample, vocabulary) or one_prompt(self._texts(vocabulary), model.count_tokens, model.max_tokens)
            for sample, vocabulary in zip(samples, vocabularies, strict=True)
        ]
        return read_texts(samples, vocabularies, prompts, model, self.text_bank)

    def _states(self, ids_BL: Tensor, texts: TrainingTexts) -> TextTokens:
        """What the text tower makes of the texts, or of the same ones with hidden words."""
        text = self.language_model(ids_BL)
        return text if texts.word_BLD is None else text._replace(word_BLD=texts.word_BLD.to(text.hidden_BLC))


def _own_prompt(sample: DetDataSample, vocabulary: Vocabulary) -> Prompt | None:
    """The prompt that a sample brings, if it brings one."""
    prompt = sample.get('prompt')
    if prompt is not None and not prompt.rows:
        raise VocabularyError(
            f"the prompt '{shorten(prompt.text)}' of a sample asks for no word. Give it the places of one, or set "
            'prompt=None.'
        )
    if prompt is not None and max(prompt.rows) >= len(vocabulary):
        raise VocabularyError(
            f'the prompt of a sample asks for row {max(prompt.rows)}, but its vocabulary has {len(vocabulary)} words. '
            'Give it the vocabulary that the prompt was made for, or set prompt=None.'
        )
    return prompt
