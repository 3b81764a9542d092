"""A segmentor that finds masks and names them, instead of naming pixels.

Shapes: B images, K words of the request, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor
from torch.nn import functional

from vlm_dense.models.decode_heads.ov_decode_head import IGNORE_INDEX, check_labels, stack_labels
from vlm_dense.models.heads.mask import segments_of_labels
from vlm_dense.models.heads.mask.decoding import Frame, MaskWindow, MeanStrips, SemanticMaps, SemanticRules, Strips
from vlm_dense.models.mask_naming import AskedWords, MaskNaming, NamedMasks, Synonyms
from vlm_dense.models.requests import vocabulary_of
from vlm_dense.models.segmentors.ov_encoder_decoder import OVEncoderDecoder
from vlm_dense.models.segmentors.picture_maps import View, flips_between
from vlm_dense.registry import MODELS


@MODELS.register_module()
class OVMaskSegmentor(MaskNaming, OVEncoderDecoder):
    """Semantic segmentation by named masks: MaskFormer (arXiv:2107.06278) with an open vocabulary.

    ZegFormer (arXiv:2112.07910), ZSSeg (arXiv:2112.14757), OVSeg (arXiv:2210.04150) and the semantic half of FC-CLIP
    (arXiv:2308.02487) differ in settings. Words and predictions are as in `OVEncoderDecoder`.

    Args:
        backbone: As in mmseg.
        decode_head: ``vlm_dense.OVMaskFormerHead`` or ``vlm_dense.OVMask2FormerHead``, with its ``train_cfg``.
        text_bank: As in `MaskNaming.start_naming`, as are the next four.
        regions: There.
        fusion: There.
        region_bank: There.
        synonyms: There.
        ignore_index: Label of pixels that belong to no mask in training.
        size_divisor: Pictures and windows are padded with zeros to multiples of it, at the right and at the bottom, so
            that the maps of all strides cover the same field.
        kwargs: Other arguments of `OVEncoderDecoder`. ``test_cfg`` has its settings, and ``seen_penalty`` and
            ``background_threshold``, which are those of `SemanticRules`. Every window and every view finds masks of
            its own.

    Raises:
        ConfigError: As `MaskNaming.start_naming`.
    """

    test_settings = OVEncoderDecoder.test_settings | {'seen_penalty', 'background_threshold'}

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        text_bank: Any,
        regions: Any = None,
        fusion: Any = None,
        region_bank: Any = None,
        synonyms: Synonyms = 'ignore',
        ignore_index: int = IGNORE_INDEX,
        size_divisor: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, decode_head=decode_head, text_bank=text_bank, **kwargs)
        self.start_naming(self.decode_head, self.text_bank, regions, fusion, region_bank, synonyms)
        self.ignore_index = ignore_index
        self.size_divisor = size_divisor

    def _init_decode_head(self, decode_head: dict) -> None:
        self.decode_head = MODELS.build(decode_head)
        self.align_corners = False

    def request(self, data_samples: Sequence | None, device: torch.device) -> AskedWords:  # type: ignore[override]
        """The words that the samples ask for, on the device of the pictures.

        Raises:
            ConfigError: If the samples carry no vocabulary or different ones.
        """
        return self.asked_words(vocabulary_of(data_samples or []), device)

    def _decode_losses(self, features: Sequence, data_samples: Sequence, device: torch.device) -> dict[str, Tensor]:
        """Losses of the mask head against ``gt_sem_seg``, one mask per label of a picture.

        Labels index the attached vocabulary, K is the background. Pixels of unseen words belong to no mask.

        Raises:
            ConfigError: If ``ignore_index`` is the label of a word or the background, or no word is seen.
            DataError: If a label is neither a word, nor the background, nor ``ignore_index``.
        """
        words = self.request(data_samples, device).own
        labels_BHW = stack_labels(data_samples)
        check_labels(labels_BHW, len(words.is_base_K) + 1, self.ignore_index)
        truths = [segments_of_labels(labels_HW, self.ignore_index) for labels_HW in labels_BHW]
        sizes = [sample.metainfo['img_shape'][:2] for sample in data_samples]
        return self.decode_head.loss(features, truths, words, labels_BHW.shape[-2:], sizes)

    def encode_decode(self, inputs: Tensor, *words: Any) -> NamedMasks:  # type: ignore[override]
        """Masks of pictures, or of windows of them, which are padded for it, and their names."""
        size = inputs.shape[-2:]
        height, width = self.covered(size)
        padded_B3HW = functional.pad(inputs, (0, width - size[1], 0, height - size[0]))
        return self.name_masks(self.decode_head, padded_B3HW, AskedWords(*words), [tuple(size)] * len(inputs))

    def covered(self, size: Sequence[int]) -> Sequence[int]:
        """Height and width in pixels of what masks cover, for a window of this size: the next multiples."""
        return [side + -side % self.size_divisor for side in size]

    def _label(self, sample: Any, found: Sequence[View], picture: int) -> None:
        test_cfg = self.test_cfg or {}
        original = sample.metainfo['ori_shape'][:2]
        strips = [
            Strips(
                self._mask_windows(view, picture),
                Frame(view.size, original, flips_between(view, sample.metainfo)),
                'input',
            )
            for view in found
        ]
        score_MK = torch.cat([window.maps.score_BNK[picture] for view in found for window in view.windows])
        rules = SemanticRules(
            test_cfg.get('seen_penalty', 0.0), test_cfg.get('background_threshold'), test_cfg.get('words_at_once')
        )
        is_base_K = torch.tensor(vocabulary_of([sample]).is_base, device=score_MK.device)
        maps = SemanticMaps(MeanStrips(strips), score_MK, is_base_K, rules)
        sample.set_data(dict(pred_sem_seg=PixelData(data=maps.labels()[None])))
        if test_cfg.get('keep_scores', False):
            sample.set_data(dict(seg_logits=PixelData(data=maps.scores())))

    def _mask_windows(self, view: View, picture: int) -> list[MaskWindow]:
        """The windows of a view, with the masks of one picture."""
        windows = []
        for rows, columns, masks in view.windows:
            down, across = (
                slice(*side.indices(length)[:2]) for side, length in zip((rows, columns), view.size, strict=True)
            )
            covered = self.covered((down.stop - down.start, across.stop - across.start))
            windows.append(MaskWindow(down, across, masks.mask_BNhw[picture], covered))
        return windows

    def _forward(self, inputs: Tensor, data_samples: Sequence | None = None) -> Any:
        """Embeddings (B, N, D) and masks (B, N, h, w), with words their logits (B, N, K + 1) and masks."""
        embed_BND, mask_BNhw = self.decode_head.segments(self.extract_feat(inputs), inputs.shape[-2:])
        if not data_samples:
            return embed_BND, mask_BNhw
        return self.decode_head.logits(embed_BND, self.request(data_samples, inputs.device).own), mask_BNhw
