"""Masks of pictures and the score of every word for every mask: what segmentors and detectors with mask heads share.

Shapes: B pictures, N masks of a picture, K words, S rows of text, D width of the words, H W pixels, h w cells.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.classifiers import ScoreFusion
from vlm_dense.models.pictures import pictures_of
from vlm_dense.models.requests import NameRows, WordRows, best_names
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.vocabulary import Vocabulary

Synonyms = Literal['ignore', 'max']


class AskedWords(NamedTuple):
    """The words of a request, for the mask head and for the region encoder.

    Args:
        own: Rows that the mask head compares with.
        region: Rows that the region encoder compares with.
    """

    own: WordRows | NameRows
    region: WordRows | NameRows


class NamedMasks(NamedTuple):
    """Masks of a batch and what they are called.

    Args:
        score_BNK: Probabilities of the words, with one more last column where the head has a background.
        mask_BNhw: Logits on the head's grid. Both in float32 even under autocast.
    """

    score_BNK: Tensor
    mask_BNhw: Tensor


class MaskNaming:
    """Mixin of models with a backbone, maybe a neck, a mask head and maybe a region encoder.

    A mask gets an own score from its embedding and, when testing, one from a region encoder that looks at the picture
    or at the backbone's map; a `ScoreFusion` blends them.
    """

    backbone: Any
    neck: Any
    with_neck: bool
    data_preprocessor: Any
    regions: Any

    def start_naming(
        self,
        mask_head: Any,
        text_bank: Any,
        regions: Any = None,
        fusion: Any = None,
        region_bank: Any = None,
        synonyms: Synonyms = 'ignore',
    ) -> None:
        """Build the parts beside the network.

        Args:
            mask_head: The built head: ``OVMaskFormerHead`` or ``OVMask2FormerHead``.
            text_bank: Config of the text bank, or the bank.
            regions: Config of a reader of ``vlm_dense.models.regions``; None leaves all to the mask head.
            fusion: Config of a ``vlm_dense.ScoreFusion``; needed with ``regions``.
            region_bank: As ``text_bank``, for the region encoder; None takes the same rows.
            synonyms: 'ignore' compares with one row per word, as the bank makes it. 'max' compares with one row per
                name, and a word has the logit of its best name (FC-CLIP, arXiv:2308.02487), in training too.

        Raises:
            ConfigError: If one of ``regions`` and ``fusion`` comes without the other, ``region_bank`` without both, the
                widths of text bank and head differ, or ``synonyms`` is none of its values.
        """
        name = type(self).__name__
        if (regions is None) != (fusion is None) or (regions is None and region_bank is not None):
            raise ConfigError(f'{name}: regions, fusion and region_bank belong together; set regions and fusion.')
        if synonyms not in ('ignore', 'max'):
            raise ConfigError(f"{name}: synonyms={synonyms!r}; choose 'ignore' or 'max'.")
        self.regions = None if regions is None else MODELS.build(regions)
        self.fusion = ScoreFusion(base_power=0, novel_power=0) if fusion is None else build_part(fusion)
        self.synonyms = synonyms
        bank = build_part(text_bank)
        # Plain attributes even where the banks are modules: their weights are not this model's.
        self.__dict__['text_bank'] = bank
        self.__dict__['region_bank'] = bank if region_bank is None else build_part(region_bank)
        width = mask_head.classifier.embed_dim
        if bank.embed_dim != width:
            raise ConfigError(
                f'{name}: the text bank gives {bank.embed_dim} numbers per word, the mask head {width}; set '
                f'embed_dim={bank.embed_dim} of its classifier.'
            )

    def asked_words(self, vocabulary: Vocabulary, device: torch.device) -> AskedWords:
        """Rows and flags of the words, on a device.

        Raises:
            ConfigError: If names are wanted and a bank embeds words only.
        """
        own = self._rows(self.__dict__['text_bank'], vocabulary, device)
        if self.__dict__['region_bank'] is self.__dict__['text_bank']:
            return AskedWords(own, own)
        return AskedWords(own, self._rows(self.__dict__['region_bank'], vocabulary, device))

    def _rows(self, bank: Any, vocabulary: Vocabulary, device: torch.device) -> WordRows | NameRows:
        is_base_K = torch.tensor(vocabulary.is_base, dtype=torch.bool, device=device)
        if self.synonyms == 'ignore':
            return WordRows(bank(vocabulary).to(device), is_base_K)
        if not hasattr(bank, 'rows_of_names'):
            raise ConfigError(
                f"{type(bank).__name__} has no rows of names. Set synonyms='ignore' in {type(self).__name__}."
            )
        text_SD, word_of_S = bank.rows_of_names(vocabulary)
        return NameRows(text_SD.to(device), is_base_K, word_of_S.to(device))

    def name_masks(
        self, mask_head: Any, images_B3HW: Tensor, asked: AskedWords, image_sizes: Sequence | None = None
    ) -> NamedMasks:
        """Find masks and name them.

        Args:
            mask_head: As in `start_naming`.
            images_B3HW: Normalised pictures of one size.
            asked: The words.
            image_sizes: Height and width of each picture without its padding; None where there is none.
        """
        maps = self.backbone(images_B3HW)
        features = self.neck(maps) if self.with_neck else maps
        embed_BND, mask_BNhw = mask_head.segments(features, images_B3HW.shape[-2:], image_sizes)
        own_BNK1 = mask_head.logits(embed_BND, asked.own)
        region_BNK = empty_BN = None
        if self.regions is not None:
            pictures_B3HW = pictures_of(images_B3HW, self.data_preprocessor)
            region_BND, empty_BN = self.regions(pictures_B3HW, self.backbone, maps, mask_BNhw, image_sizes)
            region_BNK = self.regions.logits(region_BND, asked.region.text_KD)
            if isinstance(asked.region, NameRows):
                region_BNK = best_names(region_BNK, asked.region)
        score_BNK = self.fusion(own_BNK1, region_BNK, empty_BN, asked.own.is_base_K)
        return NamedMasks(score_BNK, mask_BNhw.to(score_BNK.dtype))
