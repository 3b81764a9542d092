"""Distillation from stored embeddings: the same losses as from the teacher itself, whatever the pipeline did."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detection_parts import BOXES, TinyTower, sample, vocabulary
from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.models.branches import CropTeacher, DistillRegions
from vlm_dense.models.branches.picture_frame import from_disk, is_whole, to_disk
from vlm_dense.vlms.region_bank import TOLERANCE

SIDES = [(96, 128), (75, 101)]
REGIONS = [
    torch.cat([BOXES, torch.tensor([[3.3, 7.7, 128.0, 96.0]])]),
    torch.tensor([[0.5, 0.25, 101.0, 75.0], [60, 50, 101, 75]]),
]


class NamedTower(TinyTower):
    """A tiny tower with the same weights every time, and a name for them."""

    fingerprint = 'tiny'

    def __init__(self) -> None:
        torch.manual_seed(7)
        super().__init__()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, and a bank of regions of them."""
    online = CropTeacher(NamedTower())
    entries = []
    for number, (height, width) in enumerate(SIDES):
        bgr_HW3 = np.random.default_rng(number).integers(0, 255, size=(height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f'{number}.png'), bgr_HW3)
        region_MD = online(rgb(tmp_path, number)[None], [REGIONS[number]], [(height, width)])
        entries.append((str(tmp_path / f'{number}.png'), REGIONS[number], region_MD))
    with_bank(tmp_path).bank.add(entries)
    return tmp_path


def with_bank(folder: Path, **changes: object) -> CropTeacher:
    return CropTeacher(**{**dict(tower=NamedTower(), bank=str(folder / 'bank')), **changes})


def rgb(folder: Path, number: int) -> torch.Tensor:
    return torch.from_numpy(cv2.imread(str(folder / f'{number}.png'))[..., ::-1].copy()).permute(2, 0, 1).float()


def batch(folder: Path) -> tuple[torch.Tensor, list[DetDataSample]]:
    """Both pictures, padded with grey, and their samples."""
    pictures_B3HW = torch.full((2, 3, 96, 128), 120.0)
    samples = []
    for number, (height, width) in enumerate(SIDES):
        pictures_B3HW[number, :, :height, :width] = rgb(folder, number)
        shapes = dict(ori_shape=(height, width), img_shape=(height, width), img_path=str(folder / f'{number}.png'))
        samples.append(sample(vocabulary()))
        samples[-1].set_metainfo(shapes)
    return pictures_B3HW, samples


def distill(folder: Path, bank: bool, **changes: object) -> DistillRegions:
    teacher = dict(tower=NamedTower(), **(dict(bank=str(folder / 'bank')) if bank else {}))
    return DistillRegions(teacher=teacher, **changes)


def test_losses_are_those_of_the_online_teacher(folder: Path) -> None:
    pictures_B3HW, samples = batch(folder)
    boxes = [InstanceData(bboxes=boxes_N4, scores=torch.ones(len(boxes_N4))) for boxes_N4 in REGIONS]
    losses = []
    for bank in (False, True):
        branch = distill(folder, bank)
        regions = branch.sample(boxes, samples)
        region_ND = torch.randn(len(regions), 16, generator=torch.Generator().manual_seed(1))
        losses.append(branch.losses(region_ND, regions, pictures_B3HW, samples)['loss_distill'])
    assert losses[0] > 0.1
    torch.testing.assert_close(losses[1], losses[0], rtol=0, atol=1e-6)


def test_the_bank_and_not_the_tower_answers(folder: Path) -> None:
    pictures_B3HW, samples = batch(folder)
    metas = [one.metainfo for one in samples]
    expected_ND = CropTeacher(NamedTower())(pictures_B3HW, REGIONS, SIDES)
    found_ND = with_bank(folder)(torch.zeros_like(pictures_B3HW), REGIONS, SIDES, metas)
    torch.testing.assert_close(found_ND, expected_ND, rtol=0, atol=1e-6)
    none = [boxes_N4[:0] for boxes_N4 in REGIONS]
    assert with_bank(folder)(pictures_B3HW, none, SIDES, metas).shape == (0, 16)


def test_a_tower_that_will_not_be_asked_is_not_kept(folder: Path) -> None:
    teacher = with_bank(folder)
    assert teacher.tower is None
    assert teacher.embed_dim == 16
    with pytest.raises(ConfigError, match='answers from its bank alone'):
        teacher.compute(torch.zeros(1, 3, 96, 128), REGIONS[:1], SIDES[:1])
    assert with_bank(folder, missing='compute').tower is not None


def test_missing_regions_are_an_error_or_computed(folder: Path) -> None:
    pictures_B3HW, samples = batch(folder)
    metas = [one.metainfo for one in samples]
    new = torch.tensor([[20.0, 20.0, 50.0, 60.0]])
    regions = [torch.cat([REGIONS[0][:1], new, REGIONS[0][1:]]), new]
    with pytest.raises(DataError, match=r'\[20\.0, 20\.0, 50\.0, 60\.0\].*0\.png.*precompute_regions'):
        with_bank(folder)(pictures_B3HW, regions, SIDES, metas)
    found_ND = with_bank(folder, missing='compute')(pictures_B3HW, regions, SIDES, metas)
    expected_ND = CropTeacher(NamedTower())(pictures_B3HW, regions, SIDES)
    torch.testing.assert_close(found_ND, expected_ND, rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="'error' or 'compute'"):
        with_bank(folder, missing='ignore')


def test_other_crops_need_another_bank(folder: Path) -> None:
    pictures_B3HW, samples = batch(folder)
    for changes in (dict(scales=(1.0,)), dict(size=48)):
        with pytest.raises(MissingFileError, match='no bank of this teacher'):
            with_bank(folder, **changes)(pictures_B3HW, REGIONS, SIDES, [one.metainfo for one in samples])


def test_proposals_of_the_bank_keep_their_order(folder: Path) -> None:
    _, samples = batch(folder)
    nothing = [InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0))] * 2
    found = distill(folder, bank=True, proposals='bank', max_regions=2).sample(nothing, samples).boxes
    assert [boxes_N4.tolist() for boxes_N4 in found] == [REGIONS[0][:2].tolist(), REGIONS[1].tolist()]
    with pytest.raises(ConfigError, match='needs a bank'):
        distill(folder, bank=False, proposals='bank')


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('flip_first', [False, True])
@pytest.mark.parametrize('scale', [(333, 111), (1000, 1200), (67, 50), (1333, 800)])
def test_mmdets_resize_and_flip_are_undone(scale: tuple[int, int], flip_first: bool, direction: str | None) -> None:
    """Within 1/6 of the tolerance, for boxes that reach 2 pixels over the edge too."""
    height, width = 427, 640
    generator = torch.Generator().manual_seed(0)
    corner_N2 = torch.rand(200, 2, generator=generator) * torch.tensor([width, height])
    size_N2 = torch.rand(200, 2, generator=generator) * 300 + 1
    disk_N4 = torch.cat([corner_N2 - 2, corner_N2 + size_N2], dim=1).clamp(min=0)
    limit_4 = torch.tensor([width, height, width, height])
    disk_N4 = torch.minimum(disk_N4, limit_4)
    results = dict(
        img=np.zeros((height, width, 3), np.uint8),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes(disk_N4.clone()),
    )
    steps = [Resize(scale=scale, keep_ratio=True)]
    if direction:
        steps.insert(0 if flip_first else 1, RandomFlip(prob=1.0, direction=direction))
    for step in steps:
        results = step(results)
    meta = {key: results[key] for key in ('img_shape', 'scale_factor', 'flip', 'flip_direction') if key in results}
    meta['ori_shape'] = (height, width)
    batch_N4 = results['gt_bboxes'].tensor
    assert (to_disk(batch_N4, meta) - disk_N4).abs().max() < TOLERANCE / 6
    torch.testing.assert_close(from_disk(disk_N4, meta), batch_N4, rtol=0, atol=1e-2)


def test_a_flipped_and_resized_picture_finds_its_regions(folder: Path) -> None:
    pictures_B3HW, _ = batch(folder)
    height, width = SIDES[1]
    meta = dict(
        img_path=str(folder / '1.png'), ori_shape=SIDES[1], img_shape=(2 * height, 2 * width), scale_factor=(2.0, 2.0),
        flip=True, flip_direction='horizontal',
    )  # fmt: skip
    boxes_N4 = 2 * REGIONS[1]
    boxes_N4[:, [0, 2]] = 2 * width - boxes_N4[:, [2, 0]]
    found_ND = with_bank(folder)(pictures_B3HW[:1], [boxes_N4], [meta['img_shape']], [meta])
    assert torch.equal(found_ND, with_bank(folder).bank.regions(meta['img_path']).region_MD)


def test_cropped_pictures_are_refused_or_computed(folder: Path) -> None:
    pictures_B3HW, _ = batch(folder)
    meta = dict(img_path=str(folder / '0.png'), ori_shape=(96, 128), img_shape=(80, 100), scale_factor=(1.0, 1.0))
    assert not is_whole(meta)
    with pytest.raises(ConfigError, match=r'0\.png.*only resize once and flip'):
        with_bank(folder)(pictures_B3HW[:1], [BOXES], [(80, 100)], [meta])
    found_ND = with_bank(folder, missing='compute')(pictures_B3HW[:1], [BOXES], [(80, 100)], [meta])
    assert torch.equal(found_ND, CropTeacher(NamedTower())(pictures_B3HW[:1], [BOXES], [(80, 100)]))
