"""Maps, cells and pictures of timm's convolutional trunks: ConvNeXt and its like."""

from typing import Any

from torch import Tensor

from vlm_dense.errors import ConfigError

STRIDES = (4, 8, 16, 32)


def stage_numbers(trunk: Any) -> tuple[int, ...] | None:
    """Which of timm's feature maps are the last ones at strides 4, 8, 16 and 32.

    None where a stride is missing, or where pictures have to have one size.
    """
    strides = [info['reduction'] for info in getattr(trunk, 'feature_info', ())]
    # Windowed transformers have stages too, yet of one picture size.
    one_size = getattr(getattr(trunk, 'patch_embed', None), 'strict_img_size', False)
    if one_size or not hasattr(trunk, 'forward_intermediates') or not set(STRIDES) <= set(strides):
        return None
    return tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES)


def reads_cells(visual: Any) -> bool:
    """Whether the trunk has stages and its maps are averaged, so that its head can take one cell as it takes a mean."""
    pool = getattr(getattr(visual.trunk, 'head', None), 'global_pool', None)
    averages = getattr(pool, 'pool_type', None) == 'avg'
    return stage_numbers(visual.trunk) is not None and averages and 'pool' not in dict(visual.head.named_children())


def trunk_maps(trunk: Any, images_B3HW: Tensor) -> tuple[Tensor, ...]:
    """The last maps at strides 4, 8, 16 and 32, without the final norm: ConvNeXt's four stages.

    Args:
        trunk: A model of timm's, of which `stage_numbers` knows the stages.
        images_B3HW: Normalised pictures of any size.

    Raises:
        ConfigError: If a side is shorter than 32 pixels.
    """
    _check_sides(images_B3HW)
    return tuple(
        trunk.forward_intermediates(
            images_B3HW, indices=list(stage_numbers(trunk) or ()), intermediates_only=True, output_fmt='NCHW'
        )
    )


def trunk_pictures(visual: Any, images_B3HW: Tensor) -> Tensor:
    """Whole pictures of any size in the shared space, raw: (B, D)."""
    _check_sides(images_B3HW)
    return visual(images_B3HW)


def trunk_cells(visual: Any, images_B3HW: Tensor) -> Tensor:
    """Every cell in the shared space, raw: final norm and projection as if the cell were the mean: (B, D, h, w).

    FC-CLIP (arXiv:2308.02487) reads ConvNeXt this way, mask by mask.
    """
    _check_sides(images_B3HW)
    map_BChw = visual.trunk.forward_features(images_B3HW)
    cells_ND = trunk_rows(visual, map_BChw.permute(0, 2, 3, 1).flatten(0, 2))
    batch, _, height, width = map_BChw.shape
    return cells_ND.unflatten(0, (batch, height, width)).permute(0, 3, 1, 2)


def trunk_rows(visual: Any, rows_NC: Tensor) -> Tensor:
    """Cells or means of cells of the last map, after the norm that some trunks have there, in the shared space: (N, D).

    Raw. Each is read as if it were the mean of the map.
    """
    return visual.head(visual.trunk.forward_head(rows_NC[:, :, None, None]))


def _check_sides(images_B3HW: Tensor) -> None:
    height, width = images_B3HW.shape[2:]
    if min(height, width) < STRIDES[-1]:
        raise ConfigError(f'pictures of {height} x {width} pixels hold no cell of 32 x 32. Pad or enlarge them.')
