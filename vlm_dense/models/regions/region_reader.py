"""What a region encoder says about masks, before any word is involved.

Shapes: B pictures, N masks of a picture, K words, D width of the shared space, h w cells of a mask, H W pixels.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vlm_dense.errors import ConfigError

CLIP_LOGIT_SCALE = 100.0  # where CLIP's (arXiv:2103.00020) ended after training, its bound


class RegionRows(NamedTuple):
    """Masks as rows of the shared space.

    Args:
        region_BND: Unit rows.
        empty_BN: Boolean, masks with nothing inside; their rows show the whole picture unless a reader says otherwise.
            What they count for is said by `ScoreFusion`.
    """

    region_BND: Tensor
    empty_BN: Tensor


class RegionReader(nn.Module, metaclass=ABCMeta):
    """A region encoder as a part of a model that segments; at test alone, without weights in its checkpoints.

    Args:
        logit_scale: Multiplies the cosines of rows and words.

    Raises:
        ConfigError: If ``logit_scale`` is not above 0.
    """

    def __init__(self, logit_scale: float = CLIP_LOGIT_SCALE) -> None:
        super().__init__()
        if logit_scale <= 0:
            raise ConfigError(f'logit_scale={logit_scale} of {type(self).__name__}: write a number above 0.')
        self.logit_scale = logit_scale

    @abstractmethod
    def forward(
        self,
        pictures_B3HW: Tensor,
        backbone: Any,
        features: Sequence[Any],
        mask_BNhw: Tensor,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> RegionRows:
        """Read every mask; a reader looks at the pictures or at the features.

        Args:
            pictures_B3HW: RGB, 0..255, as `pictures_of` makes them of a batch.
            backbone: The model's.
            features: What it made of these pictures, before any neck.
            mask_BNhw: Logits over the H x W field of the pictures, any height and width; N may be 0.
            image_sizes: Height and width of each picture in pixels without its padding, which belongs to no mask; None
                where there is none.
        """

    def logits(self, region_BND: Tensor, text_KD: Tensor) -> Tensor:
        """Cosines times the scale, (B, N, K), in float32 even under autocast.

        Args:
            region_BND: Unit rows.
            text_KD: Unit rows of the words, any device.

        Raises:
            ConfigError: If the widths differ.
        """
        if region_BND.shape[-1] != text_KD.shape[-1]:
            raise ConfigError(
                f'{type(self).__name__} gives {region_BND.shape[-1]} numbers per region and words have '
                f'{text_KD.shape[-1]}; give the model the region_bank of the tower that reads.'
            )
        with torch.autocast(region_BND.device.type, enabled=False):
            rows_BND = region_BND.float()
            return self.logit_scale * (rows_BND @ text_KD.to(rows_BND).t())
