"""The distillation branch: which regions, which crops, which loss."""

import numpy as np
import pytest
import torch
from detection_parts import BOXES, HEIGHT, MEAN, STD, WIDTH, TinyTower, build, picture, sample, vocabulary
from mmengine.structures import InstanceData
from PIL import Image
from torch.nn import functional

from vlm_dense.models.branches import Branch, CropTeacher, DistillRegions, Regions, embedding_l1
from vlm_dense.models.pictures import pictures_of

PROPOSALS = torch.tensor(
    [
        [12.0, 12.0, 58.0, 66.0],
        [60.0, 30.0, 118.0, 88.0],
        [62.0, 30.0, 118.0, 88.0],
        [-30.0, -20.0, 40.0, 30.0],
        [127.0, 10.0, 160.0, 60.0],
        [5.0, 5.0, 7.0, 60.0],
    ]
)
SCORES = torch.tensor([0.5, 0.9, 0.8, 0.7, 0.95, 0.99])


def branch(**changes: object) -> DistillRegions:
    return DistillRegions(teacher=dict(tower=TinyTower()), **changes)


def chosen(**changes: object) -> torch.Tensor:
    found = InstanceData(bboxes=PROPOSALS, scores=SCORES)
    return branch(**changes).sample([found], [sample(vocabulary())]).boxes[0]


def test_it_fulfils_the_contract() -> None:
    assert isinstance(branch(), Branch)


def test_best_proposals_first_and_padding_left_out() -> None:
    boxes_N4 = chosen(max_regions=3)
    assert boxes_N4.tolist() == [PROPOSALS[1].tolist(), PROPOSALS[2].tolist(), [0.0, 0.0, 40.0, 30.0]]


def test_suppression_leaves_one_of_two_overlapping() -> None:
    boxes_N4 = chosen(nms_iou=0.7)
    assert boxes_N4.tolist() == [PROPOSALS[1].tolist(), [0.0, 0.0, 40.0, 30.0], PROPOSALS[0].tolist()]


def test_annotated_boxes_come_first() -> None:
    boxes_N4 = chosen(with_truth=True, nms_iou=0.5, max_regions=3)
    assert torch.equal(boxes_N4[:2], BOXES)
    assert boxes_N4[2].tolist() == [0.0, 0.0, 40.0, 30.0]


def test_l1_is_a_sum_over_channels() -> None:
    region_ND, teacher_ND = torch.randn(7, 512), functional.normalize(torch.randn(7, 512), dim=1)
    unit_ND = region_ND.numpy() / np.linalg.norm(region_ND.numpy(), axis=1, keepdims=True)
    expected = np.abs(unit_ND - teacher_ND.numpy()).sum(axis=1).mean()
    np.testing.assert_allclose(embedding_l1(region_ND, teacher_ND).item(), expected, rtol=1e-5)
    plain = functional.l1_loss(functional.normalize(region_ND, dim=1), teacher_ND)
    torch.testing.assert_close(embedding_l1(region_ND, teacher_ND), 512 * plain)


def test_loss_is_weight_times_l1_to_the_teacher() -> None:
    distill = branch(weight=0.25)
    pictures_B3HW = torch.rand(1, 3, HEIGHT, WIDTH) * 255
    regions = Regions([BOXES])
    region_ND = torch.randn(2, 16, requires_grad=True)
    loss = distill.losses(region_ND, regions, pictures_B3HW, [sample(vocabulary())])['loss_distill']
    teacher_ND = distill.teacher(pictures_B3HW, [BOXES], [(HEIGHT, WIDTH)])
    torch.testing.assert_close(loss, 0.25 * embedding_l1(region_ND, teacher_ND))
    loss.backward()
    assert region_ND.grad.abs().sum() > 0
    assert not teacher_ND.requires_grad


def test_teacher_adds_two_crops_and_normalises() -> None:
    teacher = CropTeacher(tower=TinyTower(), scales=(1.0, 1.5))
    pictures_B3HW = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    box = torch.tensor([[40.0, 30.0, 80.0, 60.0]])
    picture = Image.fromarray(pictures_B3HW[0].permute(1, 2, 0).numpy())
    mean, std = (np.array(values, np.float32) for values in (teacher.tower.mean, teacher.tower.std))
    embedded = []
    for corners in ((40, 30, 80, 60), (30, 22, 90, 68)):  # x1' = 1.25 x1 - 0.25 x2, rounded outwards
        crop = np.asarray(picture.crop(corners).resize((32, 32), Image.Resampling.BICUBIC), np.float32)
        embedded.append(teacher.tower.embed_images(torch.from_numpy((crop - mean) / std).permute(2, 0, 1)[None]))
    expected = functional.normalize(embedded[0] + embedded[1], dim=1)
    found = teacher(pictures_B3HW.float(), [box], [(HEIGHT, WIDTH)])
    assert functional.cosine_similarity(found, expected).item() > 0.9999


def test_crops_end_where_the_picture_ends() -> None:
    """What the padding holds changes nothing."""
    teacher = CropTeacher(tower=TinyTower())
    pictures_B3HW = torch.rand(1, 3, HEIGHT, WIDTH) * 255
    box = torch.tensor([[10.0, 20.0, 60.0, 70.0], [60.0, 60.0, 70.0, 75.0]])
    shape = (75, 70)
    changed = pictures_B3HW.clone()
    changed[:, :, 75:] = 0
    changed[:, :, :, 70:] = 255
    torch.testing.assert_close(teacher(changed, [box], [shape]), teacher(pictures_B3HW, [box], [shape]))


def test_no_regions_give_a_zero_that_is_part_of_the_graph() -> None:
    region_ND = torch.zeros(0, 16, requires_grad=True)
    empty = Regions([torch.zeros(0, 4), torch.zeros(0, 4)])
    loss = branch().losses(region_ND, empty, torch.zeros(2, 3, 8, 8), [sample(vocabulary())] * 2)['loss_distill']
    assert loss == 0
    loss.backward()
    assert region_ND.grad is not None


def test_teacher_is_no_part_of_the_state() -> None:
    distill = branch().train()
    assert distill.state_dict() == {}
    assert list(distill.parameters()) == []
    assert not distill.teacher.tower.tower.training


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('rgb', [True, False])
def test_normalisation_is_undone(rgb: bool, wrapped: bool) -> None:
    config = dict(type='DetDataPreprocessor', mean=MEAN, std=STD, bgr_to_rgb=rgb, pad_size_divisor=32)
    if wrapped:
        config = dict(type='MultiBranchDataPreprocessor', data_preprocessor=config)
    preprocessor = build(config)
    bgr_3HW = picture()
    single = getattr(preprocessor, 'data_preprocessor', preprocessor)
    ready = single(dict(inputs=[bgr_3HW], data_samples=[sample(vocabulary())]), True)['inputs']
    torch.testing.assert_close(pictures_of(ready, preprocessor)[0], bgr_3HW.flip(0), rtol=1e-4, atol=1e-3)
