"""What can be read from an image model of open_clip's; each family overrides what it has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.mask_pooling import MaskKind, mask_weights, weighted_means
from vlm_dense.vlms.positions import Interpolation
from vlm_dense.vlms.readouts import READOUTS, Readout

OWNER = 'OpenClipTower'  # whose settings the messages name
REMEDY = "Take a plain vision transformer, timm's ViT or EVA, CLIP's ResNet, or ConvNeXt."

Taps = tuple[int, ...] | None


@dataclass(frozen=True)
class Reader:
    """Reads whole pictures of one size; the families read more.

    The model and the tower's settings come with each call and are not kept: the model is registered once, in the
    tower, and a copy of the tower reads its own. What is returned is raw, not at unit length. Arguments are those of
    `OpenClipTower`; ``visual`` is its model.

    Attributes:
        name: Of the architecture, for messages.
        strides: Strides of the last map that the family can have.
    """

    name: str
    strides: ClassVar[tuple[int, ...]] = (32,)

    def readouts(self, visual: Any) -> tuple[Readout, ...]:
        """The read-outs of cells that the family knows, the usual one first."""
        return ('plain',)

    def checked_readout(self, visual: Any, readout: Readout | None) -> Readout:
        """The read-out, or the usual one for None.

        Raises:
            ConfigError: If the model has no such read-out.
        """
        known = self.readouts(visual)
        if readout is not None and readout not in known:
            names = ' and '.join(map(repr, sorted(known, key=READOUTS.index)))
            raise ConfigError(f"readout='{readout}' of {OWNER}: '{self.name}' has {names}.")
        return readout or known[0]

    def checked_taps(self, visual: Any, taps: Sequence[int] | None) -> Taps:
        """The taps.

        Raises:
            ConfigError: If the model has no such blocks.
        """
        if taps is not None:
            raise ConfigError(f"taps of {OWNER}: '{self.name}' has no blocks to tap. Leave them out.")
        return None

    def set_stride(self, visual: Any, output_stride: int) -> None:
        """Give the model's last map this stride, in place.

        Raises:
            ConfigError: If it cannot have it.
        """
        if output_stride not in self.strides:
            known = ' or '.join(map(str, self.strides))
            raise ConfigError(f"output_stride={output_stride} of {OWNER}: '{self.name}' takes {known}.")

    def blocks(self, visual: Any) -> Any:
        """As `ImageTower.blocks`."""
        return None

    def prefix_tokens(self, visual: Any) -> int:
        """As `ImageTower.prefix_tokens`."""
        return 0

    def maps(self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation) -> tuple[Tensor, ...]:
        """As `ImageTower.pyramid`."""
        raise ConfigError(f"'{self.name}' has no pyramid of maps here. {REMEDY}")

    def class_token_maps(
        self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        """As `ImageTower.class_token_pyramid`."""
        raise ConfigError(f"'{self.name}' has no class token. Take the maps alone.")

    def pictures(self, visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
        """Whole pictures: (B, D)."""
        if not is_native(visual, images_B3HW):
            (height, width), side = images_B3HW.shape[2:], input_side(visual)
            raise ConfigError(
                f"'{self.name}' embeds whole pictures of {side} x {side} pixels, not {height} x {width}. "
                f'Resize them, or crop with crop_regions(size={side}).'
            )
        return visual(images_B3HW)

    def cells(self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
        """Every cell: (B, D, h, w)."""
        raise ConfigError(f"'{self.name}' has no dense read-out here. {REMEDY}")

    def cells_and_keys(
        self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """Every cell, and the keys of the last attention: (B, D, h, w) and (B, C, h, w)."""
        raise self._lacks_attention('keys of an attention')

    def mixed_cells(
        self, visual: Any, images_B3HW: Tensor, mix_BLL: Tensor, grid: tuple[int, int], interpolation: Interpolation
    ) -> Tensor:
        """Cells of a transformer whose last attention is a given one: (B, D, h, w)."""
        raise self._lacks_attention('values of an attention')

    def pooled_masks(
        self, visual: Any, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind, taps: Taps, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `ImageTower.embed_masks`: (B, N, D) and (B, N)."""
        raise ConfigError(f"'{self.name}' reads no masks here. {REMEDY}")

    def layers(self, visual: Any, interpolation: Interpolation) -> tuple[nn.Module, ...]:
        """The stages whose outputs are the maps, and what leads from the last to the shared space; no copies."""
        raise ConfigError(f"'{self.name}' has no tail after its pyramid here. Take CLIP's ResNet.")

    def _lacks_attention(self, what: str) -> ConfigError:
        return ConfigError(f"'{self.name}' has no {what} here. Take one of CLIP's vision transformers.")


def input_side(visual: Any) -> int:
    """Side in pixels of the square pictures that the model was trained on."""
    size = visual.image_size
    return int(size[0] if isinstance(size, tuple | list) else size)


def is_native(visual: Any, images_B3HW: Tensor) -> bool:
    """Whether pictures are squares of `input_side`."""
    return tuple(images_B3HW.shape[2:]) == (input_side(visual),) * 2


def pool_rows(
    read: Callable[[Tensor], Tensor], map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind
) -> tuple[Tensor, Tensor]:
    """The mean of a map inside each mask, read as one cell is: (B, N, D) and flags of empty masks (B, N).

    Args:
        read: Rows (M, C) to (M, D).
        map_BChw: As in `ImageTower.embed_masks`, like the masks and their kind.
    """
    weight_BNhw, empty_BN = mask_weights(mask_BNHW, map_BChw, kind)
    rows_MC = weighted_means(map_BChw, weight_BNhw).flatten(0, 1)
    return read(rows_MC).unflatten(0, empty_BN.shape), empty_BN
