"""Regions given by masks, cut out and embedded as pictures."""

from collections.abc import Iterator, Sequence
from math import log
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.crops import crop_regions
from vlm_dense.vlms.mask_pooling import resize_masks

Style = Literal['crop', 'mask', 'crop_and_mask']
STYLES: tuple[str, ...] = ('crop', 'mask', 'crop_and_mask')


class Cuts(NamedTuple):
    """Regions of one picture: (N, 3, S, S) uint8, what of each is inside its mask, and which masks were empty."""

    crops_N3SS: Tensor
    inside_NSS: Tensor
    empty_N: Tensor


@MODELS.register_module()
class MaskedCrops:
    """What a tower says about masks when each is shown to it as a picture of its own.

    ZegFormer (arXiv:2112.07910, section 3.3) compares the three styles, ZSSeg (arXiv:2112.14757) and OVSeg
    (arXiv:2210.04150) take 'crop_and_mask'. Crops are resized as `crop_regions` does it.

    The box of a mask is the smallest that holds all its pixels. ``torchvision.ops.masks_to_boxes`` and public code of
    ZegFormer give the last row and column as the far corner, so that cropping there loses both; here the far corner is
    one beyond them.

    Args:
        style: 'crop': the mask's box, nothing hidden. 'mask': the whole picture, what is outside of the mask hidden.
            'crop_and_mask': the box, what is outside of the mask hidden.
        threshold: Pixels with a probability above it are inside; 0.5, and 0.4 in OVSeg with Swin-B.
        logits: Whether masks are logits, or probabilities already; booleans count as probabilities 0 and 1.
        outside: Colour of hidden pixels, 0..255, RGB; None takes the tower's ``mean``, which is 0 after normalisation
            but for its rounding to 8 bits.
        chunk: How many regions are cut and embedded at a time.

    Raises:
        ConfigError: If ``style`` is none of its values, ``threshold`` not within (0, 1), or ``chunk`` below 1.
    """

    def __init__(
        self,
        style: Style = 'crop_and_mask',
        threshold: float = 0.5,
        logits: bool = True,
        outside: Sequence[float] | None = None,
        chunk: int = 32,
    ) -> None:
        if style not in STYLES:
            raise ConfigError(f"style='{style}' of MaskedCrops: write one of {', '.join(STYLES)}.")
        if not 0 < threshold < 1:
            raise ConfigError(f'threshold={threshold} of MaskedCrops: write a probability between 0 and 1.')
        if chunk < 1:
            raise ConfigError(f'chunk={chunk} of MaskedCrops: write 1 or more.')
        self.style = style
        self.threshold = threshold
        self.logits = logits
        self.outside = outside
        self.chunk = chunk

    def __call__(
        self,
        tower: Any,
        pictures_B3HW: Tensor,
        masks: Sequence[Tensor],
        image_shapes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed all masks of all pictures in order.

        Args:
            tower: An `ImageTower` or `FrozenTower` that embeds pictures. One that takes masks, `MaskPromptedTower`, is
                given what of each crop is inside too.
            pictures_B3HW: Values 0..255, RGB, any dtype.
            masks: One (n_i, h, w) tensor per picture, n_i may be 0; each covers H x W and is resized to it bilinearly.
            image_shapes: Height and width of each picture without its padding, which belongs to no mask.

        Returns:
            Unit rows (N, D), and flags (N,) of empty masks. These show the full picture; papers give them one score
            for all words.

        Raises:
            DataError: If pictures, masks and shapes differ in number.
        """
        rows, flags = [], [torch.zeros(0, dtype=torch.bool, device=pictures_B3HW.device)]
        for cuts in self.cut(pictures_B3HW, masks, tower.input_size, self.outside or tower.mean, image_shapes):
            rows.append(_embed(tower, cuts))
            flags.append(cuts.empty_N)
        region_ND = torch.cat(rows) if rows else torch.zeros(0, tower.embed_dim, device=pictures_B3HW.device)
        return region_ND, torch.cat(flags)

    def cut(
        self,
        pictures_B3HW: Tensor,
        masks: Sequence[Tensor],
        size: int,
        outside: Sequence[float],
        image_shapes: Sequence[tuple[int, int]] | None = None,
    ) -> Iterator[Cuts]:
        """At most ``chunk`` regions of one picture at a time, S = ``size`` pixels wide; arguments as in the call."""
        height, width = pictures_B3HW.shape[2:]
        if image_shapes is None:
            image_shapes = [(height, width)] * len(pictures_B3HW)
        if not len(masks) == len(image_shapes) == len(pictures_B3HW):
            raise DataError(
                f'{len(pictures_B3HW)} pictures came with {len(masks)} sets of masks and {len(image_shapes)} shapes. '
                'Give one per picture.'
            )
        for picture_13HW, mask_nhw, shape in zip(pictures_B3HW.split(1), masks, image_shapes, strict=True):
            # Empty where a picture has no mask: split gives one empty part then.
            for part_nhw in mask_nhw.split(self.chunk) if len(mask_nhw) else ():
                inside_nHW, empty_n = self._binarize(part_nhw, (height, width), shape)
                yield self._cut(picture_13HW, inside_nHW, empty_n, shape, size, outside)

    def _binarize(self, mask_nhw: Tensor, size: tuple[int, int], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Pixels inside (n, H, W); an empty mask is the full picture and flagged."""
        are_logits = self.logits and mask_nhw.is_floating_point()
        # sigmoid(x) > t without the sigmoid.
        limit = log(self.threshold / (1 - self.threshold)) if are_logits else self.threshold
        inside_nHW = resize_masks(mask_nhw[None], size)[0] > limit
        within_HW = torch.zeros(size, dtype=torch.bool, device=mask_nhw.device)
        within_HW[: shape[0], : shape[1]] = True
        inside_nHW &= within_HW
        empty_n = ~inside_nHW.flatten(1).any(dim=1)
        inside_nHW |= empty_n[:, None, None] & within_HW
        return inside_nHW, empty_n

    def _cut(
        self,
        picture_13HW: Tensor,
        inside_nHW: Tensor,
        empty_n: Tensor,
        shape: tuple[int, int],
        size: int,
        outside: Sequence[float],
    ) -> Cuts:
        height, width = shape
        if self.style == 'mask':
            boxes_n4 = torch.tensor([[0, 0, width, height]], device=inside_nHW.device).expand(len(inside_nHW), 4)
        else:
            boxes_n4 = masks_to_boxes(inside_nHW).long()
            boxes_n4[:, 2:] += 1
        hidden = None if self.style == 'crop' else [inside_nHW]
        crops_1n3SS = crop_regions(
            picture_13HW, [boxes_n4], (1.0,), size, image_shapes=[shape], masks=hidden, outside=outside
        )
        return Cuts(crops_1n3SS[0], nearest_crops(inside_nHW, boxes_n4, size), empty_n)


def _embed(tower: Any, cuts: Cuts) -> Tensor:
    """(N, D) unit rows; what all empty masks show is embedded once."""
    numbers_N = torch.arange(len(cuts.empty_N), device=cuts.empty_N.device)
    alike_N = torch.where(cuts.empty_N, cuts.empty_N.int().argmax(), numbers_N)
    shown_M, row_N = alike_N.unique(return_inverse=True)
    extra = (cuts.inside_NSS[shown_M],) if tower.takes_masks else ()
    return tower.embed_images(tower.normalize(cuts.crops_N3SS[shown_M]), *extra)[row_N]


def nearest_crops(mask_NHW: Tensor, boxes_N4: Tensor, size: int) -> Tensor:
    """Masks cut at boxes of whole pixels and resized to squares, nearest pixel: (N, size, size)."""
    steps_S = torch.arange(size, device=mask_NHW.device)
    left_N, top_N, right_N, bottom_N = boxes_N4.long().unbind(1)
    rows_NS = top_N[:, None] + steps_S * (bottom_N - top_N)[:, None] // size
    columns_NS = left_N[:, None] + steps_S * (right_N - left_N)[:, None] // size
    numbers_N11 = torch.arange(len(mask_NHW), device=mask_NHW.device)[:, None, None]
    return mask_NHW[numbers_N11, rows_NS[:, :, None], columns_NS[:, None]]
