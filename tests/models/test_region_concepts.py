"""The branches of region-word pre-training, against numpy."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from detection_parts import BOXES, EMBED_DIM, HEIGHT, WIDTH, RandomWords, batch, model_config, sample, vocabulary
from detection_parts import build as build_detector
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import roi_align

from vlm_dense.errors import ConfigError
from vlm_dense.models.branches import PictureCaptions, RegionConcepts, Regions
from vlm_dense.text.prompt_packing import caption_prompt
from vlm_dense.vlms import ImageTower

POOL = ['ant', 'bee', 'cat', 'dog', 'elk']
T = 0.2


class MapTower(ImageTower):
    """A map of stride 16 and a linear tail."""

    embed_dim = EMBED_DIM
    mean = (100.0, 110.0, 120.0)
    std = (50.0, 60.0, 70.0)
    input_size = 32

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv, self.last = nn.Conv2d(3, 8, 16, stride=16), nn.Conv2d(8, EMBED_DIM, 1)

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        return (self.conv(images_B3HW),)

    def tail(self, stage: int = -1) -> nn.Module:
        return self.last


class HashedTexts:
    """A text encoder whose rows depend on the text alone."""

    embed_dim = EMBED_DIM

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big') for text in texts]
        rows = [torch.randn(EMBED_DIM, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return nn.functional.normalize(torch.stack(rows), dim=1)


def branch(**settings: object) -> RegionConcepts:
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
        out_channels=8,
        featmap_strides=[16],
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        teacher = dict(tower=MapTower(), roi_extractor=extractor)
        return RegionConcepts(teacher, POOL, RandomWords(), **{'temperature': T, 'max_regions': 4, **settings})


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize('min_score', [0.0, 0.3, 0.999])
def test_losses_equal_the_formula(min_score: float) -> None:
    """RoIAlign on the teacher's map, its tail, both softmaxes, the threshold, KL and the contrast of kept regions."""
    torch.manual_seed(0)
    taught = branch(min_score=min_score)
    pictures = torch.rand(2, 3, HEIGHT, WIDTH) * 255
    boxes = [torch.rand(7, 2).sort(dim=0)[0] * 20 for _ in range(2)]
    boxes = [torch.cat([corner, corner + 40 + 30 * torch.rand(7, 2)], dim=1) for corner in boxes]
    region_ND = torch.randn(14, EMBED_DIM, dtype=torch.float64)
    found = taught.losses(region_ND.float(), Regions(boxes), pictures, [sample(None), sample(None)])

    tower = MapTower()
    with torch.no_grad():
        maps = tower.conv((pictures - torch.tensor(tower.mean)[:, None, None]) / torch.tensor(tower.std)[:, None, None])
        regions = tower.last(roi_align(maps, boxes, 3, 1 / 16, sampling_ratio=0, aligned=True)).mean((2, 3)).numpy()
    pool = RandomWords()(vocabulary(' '.join(POOL))).numpy().astype(np.float64)
    teacher = softmax(unit(regions.astype(np.float64)) @ pool.T / T)
    kept, label = teacher.max(1) > min_score, teacher.argmax(1)
    kept = kept if kept.any() else np.ones(14, bool)
    student = unit(region_ND.numpy()) @ pool.T / T
    distill = (teacher * (np.log(teacher) - np.log(softmax(student)))).sum(1)[kept].mean()
    label = label[kept]
    share = softmax(student[kept][:, label])
    contrast = -np.log((share * (label[:, None] == label)).sum(1)).mean()
    assert found['loss_distill'].item() == pytest.approx(distill, rel=1e-4)
    assert found['loss_contrast'].item() == pytest.approx(contrast, rel=1e-4)
    assert found['kept'].item() == pytest.approx(kept.mean())


def test_mixed_precision_does_not_reach_the_similarities() -> None:
    """At a temperature of 0.01 a cosine of eight bits would be off by up to 0.2 in its logit."""
    taught = branch(min_score=0.0, temperature=0.01)
    similar_NP = nn.functional.normalize(torch.randn(14, len(POOL), generator=torch.Generator().manual_seed(1)), dim=1)
    taught._teacher_similarity = lambda *_: similar_NP
    region_ND = torch.randn(14, EMBED_DIM, generator=torch.Generator().manual_seed(2))
    expected = taught.losses(region_ND, Regions([]), torch.empty(0), [])
    with torch.autocast('cpu', torch.bfloat16):
        found = taught.losses(region_ND, Regions([]), torch.empty(0), [])
    assert found == expected


def test_captions_equal_the_formula() -> None:
    learner = PictureCaptions(HashedTexts(), temperature=T)
    texts = ['a red dog', 'two cats', 'a red dog']
    samples = [sample(None) for _ in texts]
    for one, text in zip(samples, texts, strict=True):
        one.set_metainfo(dict(text=text))
    region_ND = torch.randn(3, EMBED_DIM, generator=torch.Generator().manual_seed(0))
    found = learner.losses(region_ND, Regions([]), torch.empty(0), samples)['loss_caption']
    logits = unit(region_ND.numpy()) @ HashedTexts().encode(texts).numpy().T / T
    same = np.array(texts)[:, None] == np.array(texts)
    rows = -np.log((softmax(logits) * same).sum(1)).mean()
    columns = -np.log((softmax(logits.T) * same).sum(1)).mean()
    assert found.item() == pytest.approx((rows + columns) / 2, rel=1e-4)


def test_a_picture_is_one_region_without_its_padding() -> None:
    small = sample(None)
    small.set_metainfo(dict(img_shape=(40, 60)))
    proposals = [InstanceData(bboxes=BOXES, scores=torch.ones(2))] * 2
    regions = PictureCaptions(HashedTexts()).sample(proposals, [sample(None), small])
    assert [boxes.tolist() for boxes in regions.boxes] == [[[0, 0, WIDTH, HEIGHT]], [[0, 0, 60, 40]]]


def caption_loss(*samples: DetDataSample) -> float:
    learner = PictureCaptions(HashedTexts(), temperature=T)
    region_ND = torch.randn(len(samples), EMBED_DIM, generator=torch.Generator().manual_seed(0))
    return learner.losses(region_ND, Regions([]), torch.empty(0), list(samples))['loss_caption'].item()


def with_text(**said: object) -> DetDataSample:
    one = sample(None)
    one.set_metainfo(said)
    return one


def test_captions_come_from_prompts_and_from_lists() -> None:
    other = with_text(text='two cats')
    expected = {text: caption_loss(with_text(text=text), other) for text in ('a red dog', 'a man')}
    assert caption_loss(with_text(prompt=caption_prompt('a red dog', [[(2, 9)]])), other) == expected['a red dog']
    torch.manual_seed(0)
    drawn = {caption_loss(with_text(text=['a red dog', 'a man']), other) for _ in range(20)}
    assert drawn == set(expected.values())
    with pytest.raises(ConfigError, match='brings no caption'):
        caption_loss(sample(None), other)


def test_regions_are_drawn_at_random_from_the_proposals() -> None:
    found = InstanceData(bboxes=torch.arange(40.0).reshape(10, 4), scores=torch.ones(10))
    taught = branch()
    torch.manual_seed(0)
    drawn = [taught.sample([found, found[:2]], []) for _ in range(20)]
    assert all(regions.counts == [4, 2] for regions in drawn)
    assert {row[0] for regions in drawn for row in regions.boxes[0].tolist()} == set(np.arange(0.0, 40, 4))


def test_teacher_and_words_fit_together() -> None:
    class Wide(RandomWords):
        embed_dim = EMBED_DIM + 1

    with pytest.raises(ConfigError, match="the teacher's regions have 16 numbers, its words 17"):
        branch(teacher_bank=Wide())


def test_a_detector_pre_trains_on_captions_alone() -> None:
    learners = dict(picture=dict(type='vlm_dense.PictureCaptions', encoder=HashedTexts(), temperature=T))
    config = model_config(with_mask=False, branches=learners, distill='none')
    proposals = dict(type='vlm_dense.RandomProposals', count=5)
    detector = build_detector(dict(config, rpn_head=None, proposals=proposals, unnamed_batch='captions'))
    detector.branches['region'] = branch()
    data = detector.data_preprocessor(batch(vocabulary()), True)
    for number, one in enumerate(data['data_samples']):
        one.set_metainfo(dict(text=f'caption {number}'))
    losses = detector(**data, mode='loss')
    kinds = {'picture.loss_caption', 'region.loss_distill', 'region.loss_contrast', 'region.kept'}
    assert set(losses) == kinds
    assert [name for name in detector.state_dict() if name.startswith('branches')] == []
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert detector.backbone.conv1.weight.grad is not None
