"""Mean features of training pictures, which the image tower subtracts."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.vlms.crops import crop_regions
from vlm_dense.vlms.imagenet_tower import FEATURE_WIDTH, STRIDES, ImageNetTower

CROP_CHUNK = 32


@torch.no_grad()
def mean_features(
    tower: ImageNetTower,
    image_paths: Sequence[str | PathLike[str]],
    boxes_per_image: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """Average the tower's raw features over training pictures, one mean per read-out.

    Args:
        tower: Any stride; both strides are computed, on its device.
        image_paths: Training pictures; never test pictures.
        boxes_per_image: One (n, 4) tensor per picture, xyxy in pixels; None takes each whole picture as the one box.

    Returns:
        'crop': mean over crops of the pooled feature; 'map16' and 'map32': mean over all cells. (1280,) float32 each,
        on the CPU. Saved as safetensors they are what ``ImageNetTower(center=...)`` reads.

    Raises:
        DataError: If there is no picture or no box, one cannot be read, or the lists differ in length.
        MissingFileError: If a picture does not exist.
    """
    if boxes_per_image is not None and len(boxes_per_image) != len(image_paths):
        raise DataError(f'{len(image_paths)} pictures came with {len(boxes_per_image)} lists of boxes. Give one each.')
    device = tower.center_crop.device
    towers = {stride: ImageNetTower(output_stride=stride).to(device).eval() for stride in STRIDES}
    totals = {name: torch.zeros(FEATURE_WIDTH, dtype=torch.float64) for name in ('crop', 'map16', 'map32')}
    counts = dict.fromkeys(totals, 0)
    for number, path in enumerate(image_paths):
        picture_13HW = _read_picture(Path(path)).to(device)
        early_1Chw = towers[32].early_features(tower.normalize(picture_13HW))
        for stride, at_stride in towers.items():
            _add(totals, counts, f'map{stride}', at_stride.late_features(early_1Chw)[0].flatten(1).T)
        boxes = None if boxes_per_image is None else boxes_per_image[number]
        for crops_N3SS in _crops(picture_13HW, boxes, tower.input_size):
            _add(totals, counts, 'crop', towers[32].features(tower.normalize(crops_N3SS)).mean(dim=(2, 3)))
    if not all(counts.values()):
        raise DataError('mean features need at least one picture and one box. Give the training pictures.')
    return {name: (total / counts[name]).float() for name, total in totals.items()}


def _add(totals: dict[str, Tensor], counts: dict[str, int], name: str, rows_ND: Tensor) -> None:
    totals[name] += rows_ND.sum(dim=0).double().cpu()
    counts[name] += len(rows_ND)


def _crops(picture_13HW: Tensor, boxes: Tensor | None, size: int) -> Iterator[Tensor]:
    if boxes is None:
        height, width = picture_13HW.shape[2:]
        boxes = torch.tensor([[0, 0, width, height]])
    for chunk in boxes.split(CROP_CHUNK):
        if len(chunk):
            yield crop_regions(picture_13HW, [chunk], scales=(1.0,), size=size)[0]


def _read_picture(path: Path) -> Tensor:
    """Read a picture as (1, 3, H, W) uint8, RGB."""
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert('RGB'))
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no picture '{path}'. Check the path.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"the picture '{path}' cannot be read ({error}). Replace it.") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]
