"""Which blocks of a transformer are read, and tokens as maps."""

from collections.abc import Callable, Sequence

from torch import Tensor

from vlm_dense.errors import ConfigError

PYRAMID_MAPS = 4

Grid = tuple[int, int]
Tapped = tuple[tuple[Tensor, ...], Grid]


def default_taps(blocks: int) -> tuple[int, ...]:
    """Four evenly spaced block numbers, from 0, that end with the last: 2, 5, 8 and 11 of twelve."""
    return tuple(-(-(part * blocks) // PYRAMID_MAPS) - 1 for part in range(1, PYRAMID_MAPS + 1))


def check_taps(taps: Sequence[int], blocks: int, owner: str) -> None:
    """Refuse block numbers that are missing, out of order or beyond the last.

    Args:
        taps: Block numbers.
        blocks: How many blocks there are.
        owner: Who was given them, for the message.

    Raises:
        ConfigError: If there are such.
    """
    if not taps or list(taps) != sorted(set(taps)) or not 0 <= taps[0] <= taps[-1] < blocks:
        raise ConfigError(
            f'taps={tuple(taps)} of {owner}: write block numbers from 0 to {blocks - 1}, ascending, each once.'
        )


def check_patch(images_B3HW: Tensor, patch_size: tuple[int, int]) -> None:
    """Refuse pictures that hold no whole patch.

    Raises:
        ConfigError: If a side is shorter than the patch's.
    """
    if any(side < patch for side, patch in zip(images_B3HW.shape[2:], patch_size, strict=True)):
        height, width = images_B3HW.shape[2:]
        patch = ' x '.join(str(side) for side in patch_size)
        raise ConfigError(f'pictures of {height} x {width} pixels hold no patch of {patch}. Pad or enlarge them.')


def read_taps(
    run: Callable[[Sequence[int]], Tapped], taps: Sequence[int], prefix: int
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Tapped tokens as maps, each with the tokens that stand before its cells.

    Args:
        run: Gives all tokens after the blocks of the given numbers, ascending, each once; and the grid (h, w).
        taps: Block numbers, in any order, as `default_taps` has them for few blocks.
        prefix: How many tokens stand before the cells.

    Returns:
        (B, C, h, w) and (B, prefix, C) of each.
    """
    numbers = sorted(set(taps))
    taken, grid = run(numbers)
    tokens = dict(zip(numbers, taken, strict=True))
    return tuple((as_map(tokens[number][:, prefix:], grid), tokens[number][:, :prefix]) for number in taps)


def as_map(cells_BLC: Tensor, grid: Grid) -> Tensor:
    """(B, h w, C), row by row, to (B, C, h, w)."""
    return cells_BLC.transpose(1, 2).unflatten(2, grid)
