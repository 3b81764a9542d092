from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.vlms import ImageNetTower, crop_regions, mean_features


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for number, shape in enumerate([(64, 96, 3), (96, 64, 3)]):
        paths.append(tmp_path / f'{number}.png')
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(paths[-1])
    return paths


def pixels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]


def as_input(pixels_B3HW: torch.Tensor) -> torch.Tensor:
    return pixels_B3HW / 127.5 - 1


@torch.no_grad()
def test_equals_means_by_hand(pictures: list[Path]) -> None:
    boxes = [torch.tensor([[0.0, 0, 40, 40], [10, 10, 90, 60]]), torch.tensor([[5.0, 5, 60, 90]])]
    means = mean_features(ImageNetTower(), pictures, boxes)
    for stride in (16, 32):
        maps = [ImageNetTower(output_stride=stride).features(as_input(pixels(path))) for path in pictures]
        cells = torch.cat([m[0].flatten(1) for m in maps], dim=1)
        torch.testing.assert_close(means[f'map{stride}'], cells.mean(dim=1), atol=1e-5, rtol=1e-4)
    crops = [crop_regions(pixels(p), [b], scales=(1.0,))[0] for p, b in zip(pictures, boxes, strict=True)]
    pooled = ImageNetTower().features(as_input(torch.cat(crops))).mean(dim=(2, 3))
    torch.testing.assert_close(means['crop'], pooled.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_is_what_the_tower_reads(pictures: list[Path], tmp_path: Path) -> None:
    means = mean_features(ImageNetTower(), pictures)
    save_file(means, str(tmp_path / 'center.safetensors'))
    tower = ImageNetTower(center=tmp_path / 'center.safetensors', output_stride=16)
    assert torch.equal(tower.center_crop, means['crop'])
    assert torch.equal(tower.center_map, means['map16'])


def test_bad_input(pictures: list[Path], tmp_path: Path) -> None:
    tower = ImageNetTower()
    with pytest.raises(DataError, match='at least one picture and one box'):
        mean_features(tower, [])
    with pytest.raises(DataError, match='2 pictures came with 1 lists of boxes'):
        mean_features(tower, pictures, [torch.zeros(0, 4)])
    with pytest.raises(MissingFileError, match=r'there is no picture .*none\.png'):
        mean_features(tower, [tmp_path / 'none.png'])
    (tmp_path / 'half.png').write_bytes(pictures[0].read_bytes()[:200])
    with pytest.raises(DataError, match=r'half\.png. cannot be read'):
        mean_features(tower, [tmp_path / 'half.png'])
