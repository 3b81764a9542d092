"""What every image tower offers."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.mask_pooling import MaskKind, pool_masks


class ImageTower(nn.Module):
    """The picture half of a vision-language pair.

    Pictures come in as (B, 3, H, W), RGB, already normalised with ``mean`` and ``std``. A subclass implements the
    read-outs it has; the others raise `ConfigError`.

    Attributes:
        embed_dim: Width D of the shared space.
        mean: Per channel, RGB, on the 0..255 scale.
        std: As ``mean``.
        input_size: Side in pixels of the square pictures that the tower was trained on.
        takes_masks: Whether `embed_images` takes masks (B, H, W) after the pictures, as `MaskPromptedTower` does.
        fingerprint: Names the tower, its weights and its settings.
    """

    embed_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int
    takes_masks: bool = False

    def normalize(self, pictures_B3HW: Tensor) -> Tensor:
        """RGB pictures with values 0..255, of any dtype, to what the tower takes: (x - mean) / std in float32."""
        return normalize(pictures_B3HW, self.mean, self.std)

    @property
    def fingerprint(self) -> str:
        raise self._lacks('a fingerprint')

    @property
    def blocks(self) -> Any:
        """The blocks of a transformer, first to last; None for other towers."""
        return None

    @property
    def prefix_tokens(self) -> int:
        """How many of a transformer's tokens stand before the cells."""
        return 0

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Raw stage maps, finest first, at strides 4, 8, 16 and 32 unless the tower says otherwise."""
        raise self._lacks('a pyramid of stage maps')

    def class_token_pyramid(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The maps of `pyramid`, each with the class token (B, C) of the same block."""
        raise self._lacks('class tokens')

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        """Whole pictures to (B, D) unit rows."""
        raise self._lacks('an embedding of whole pictures')

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell of the last map to the shared space: (B, D, h, w), unit length along D."""
        raise self._lacks('a dense embedding')

    def embed_dense_and_keys(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """As `embed_dense`, and the keys of the last attention at the same cells, raw: (B, C, h, w)."""
        raise self._lacks('keys of an attention')

    def tail(self, stage: int = -1) -> nn.Module:
        """The layers between a map of `pyramid` and the D channels of the shared space; no copy.

        They give (N, D, h, w), raw, with one cell where the tower pools by attention.

        Args:
            stage: Which map of the pyramid; -1 is the last.
        """
        raise self._lacks('a tail after its pyramid')

    def embed_regions(self, region_NChw: Tensor, stage: int = -1) -> Tensor:
        """Regions of a map of `pyramid`, cut out by RoIAlign, to (N, D) unit rows; N may be 0.

        What `tail` makes of a region is averaged over its cells.

        Args:
            region_NChw: Regions of one size.
            stage: Which map of the pyramid they come from; -1 is the last.

        Raises:
            ConfigError: If the tower has no tail there.
        """
        return F.normalize(self.tail(stage)(region_NChw).mean(dim=(2, 3)), dim=1)

    def embed_masks(self, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind = 'hard') -> tuple[Tensor, Tensor]:
        """Masks over the last map of `pyramid` to unit rows.

        What `tail` makes of the map is averaged inside each mask; other towers say what they do instead.

        Args:
            map_BChw: The last map.
            mask_BNHW: Logits or booleans of any size over the same field, see `mask_weights`; N may be 0.
            kind: 'hard' or 'soft', see `mask_weights`.

        Returns:
            (B, N, D), and flags (B, N) of masks that hold no cell; these read the whole map.

        Raises:
            ConfigError: If the tower cannot read masks of this kind.
            DataError: If maps and masks differ in number.
        """
        region_BND, empty_BN = self._pooled_masks(map_BChw, mask_BNHW, kind)
        return F.normalize(region_BND, dim=2), empty_BN

    def _pooled_masks(self, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind) -> tuple[Tensor, Tensor]:
        """As `embed_masks`, raw."""
        return pool_masks(self.tail()(map_BChw), mask_BNHW, kind)

    def _checked_stage(self, stage: int, stages: int) -> int:
        """The number of a map, counted from 0."""
        if not -stages <= stage < stages:
            raise ConfigError(
                f'stage={stage} of {type(self).__name__}: the pyramid has {stages} maps, 0 to {stages - 1}.'
            )
        return stage % stages

    def _lacks(self, what: str) -> ConfigError:
        return ConfigError(
            f'{type(self).__name__} has no {what.removeprefix("a ").removeprefix("an ")}. Use another tower.'
        )


def normalize(pictures_B3HW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std per channel, in float32 unless the pictures are wider.

    Args:
        pictures_B3HW: Of any dtype.
        mean: One per channel.
        std: As ``mean``.
    """
    dtype = torch.promote_types(pictures_B3HW.dtype, torch.float32)
    images_B3HW = pictures_B3HW.to(dtype, copy=True)
    scale_311 = 1 / images_B3HW.new_tensor(std).view(3, 1, 1)
    shift_311 = -images_B3HW.new_tensor(mean).view(3, 1, 1) * scale_311
    # In place: on CPUs fresh memory costs more than the arithmetic.
    return images_B3HW.mul_(scale_311).add_(shift_311)


def pixel_scale(values: Sequence[float]) -> tuple[float, float, float]:
    """Three channels' values from the 0..1 scale, on which libraries give them, to 0..255."""
    red, green, blue = (255.0 * value for value in values)
    return red, green, blue
