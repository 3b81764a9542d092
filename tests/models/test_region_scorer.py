"""A tower's second opinion at test: regions from the backbone's own map, the blend in numpy, one set of weights."""

from typing import Any

import numpy as np
import pytest
import torch
from detection_parts import BOXES, EMBED_DIM, RandomWords, batch, build, losses_of, model_config, sample, vocabulary
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align

from vlm_dense.errors import ConfigError
from vlm_dense.models import WordRows
from vlm_dense.vlms import ImageTower

WIDTHS = (8, 16, 32, 64)


class PyramidTower(ImageTower):
    """Four strided convolutions, and one after them."""

    embed_dim = EMBED_DIM

    def __init__(self) -> None:
        super().__init__()
        strides = zip((3, *WIDTHS), WIDTHS, (4, 2, 2, 2), strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(before, after, step, step) for before, after, step in strides)
        self.last = nn.Conv2d(WIDTHS[-1], EMBED_DIM, 1)
        self.passes = 0

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        self.passes += 1
        maps = []
        for stage in self.stages:
            images_B3HW = stage(images_B3HW)
            maps.append(images_B3HW)
        return tuple(maps)

    def tail(self, stage: int = -1) -> nn.Module:
        return nn.Sequential(*self.stages[self._checked_stage(stage, 4) + 1 :], self.last)


def scorer(**changes: Any) -> dict:
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=2),
        out_channels=WIDTHS[-1],
        featmap_strides=[32],
    )
    classifier = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM, temperature=0.1, background=None)
    return {'type': 'vlm_dense.TowerRegionScorer', 'roi_extractor': extractor, 'classifier': classifier, **changes}


def detector(scored: dict | None = None, **changes: Any) -> nn.Module:
    config = model_config(with_mask=False, branches={}, distill='none')
    config['backbone'] = dict(type='vlm_dense.TowerBackbone', tower=PyramidTower())
    config['region_scorer'] = scorer() if scored is None else scored
    config.update(changes)
    return build(config)


def rows(words: str = 'ant bee cat dog', base: str = 'ant cat') -> WordRows:
    asked = vocabulary(words, base)
    return WordRows(RandomWords()(asked), torch.tensor(asked.is_base))


@pytest.mark.parametrize('background', [False, True])
def test_blend_equals_numpy(background: bool) -> None:
    """p^(1 - a) q^a with the detector's background, divided by the sum of all."""
    text = dict(text='background', bank=RandomWords())
    settings = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM, temperature=0.1)
    model = build(scorer(classifier=dict(settings, background=text if background else None)))
    words = rows()
    p = torch.randn(6, 5).softmax(1).numpy()
    region_ND = torch.randn(6, EMBED_DIM)
    region = (region_ND / region_ND.norm(dim=1, keepdim=True)).numpy()
    columns = words.text_KD.numpy()
    if background:
        columns = np.concatenate([columns, RandomWords().vector('background').numpy()[None]])
    powers = np.exp(region @ columns.T / 0.1)
    q = (powers / powers.sum(1, keepdims=True))[:, :4]
    weight = np.where(words.is_base_K.numpy(), 0.35, 0.65)
    blend = np.concatenate([p[:, :4] ** (1 - weight) * q**weight, p[:, 4:]], axis=1)
    expected = (blend / blend.sum(1, keepdims=True))[:, :4]
    np.testing.assert_allclose(model(torch.from_numpy(p), region_ND, words).numpy(), expected, rtol=1e-4)


def test_regions_come_from_the_backbones_last_map() -> None:
    model = detector().eval()
    images = torch.randn(2, 3, 96, 128)
    boxes = [BOXES, BOXES[:1]]
    with torch.no_grad():
        maps = model.backbone(images)
        region_NChw = roi_align(maps[-1], boxes, 3, 1 / 32, sampling_ratio=2, aligned=True)
        tower = model.backbone.tower
        expected_ND = functional.normalize(tower.last(region_NChw).mean((2, 3)), dim=1)
        torch.testing.assert_close(model.region_scorer.embed(model.backbone, maps, boxes), expected_ND)


def test_scores_of_proposals_reach_the_detections() -> None:
    """The detector's own parts, put together by hand, one picture."""
    model = detector().eval()
    words = rows()
    asked = sample(vocabulary('ant bee cat dog', 'ant cat'))
    proposals = [InstanceData(bboxes=BOXES)]
    with torch.no_grad():
        maps = model.features(torch.randn(1, 3, 96, 128))
        rescore = model._rescore(maps.backbone, proposals, words)
        (found,) = model.roi_head.predict(maps.roi, proposals, [asked], words, rescore=rescore)
        outputs = model.roi_head(maps.roi, proposals)
        p_NK = model.roi_head.bbox_head.classifier(outputs[0], words.text_KD).softmax(1)
        region_ND = model.region_scorer.embed(model.backbone, maps.backbone, [BOXES])
        expected_NK = model.region_scorer(p_NK, region_ND, words)
        (plain,) = model.roi_head.predict(maps.roi, proposals, [asked], words)
    torch.testing.assert_close(found.scores, expected_NK.flatten().sort(descending=True).values)
    assert not torch.allclose(found.scores, plain.scores)


def test_one_copy_of_the_weights_and_one_pass() -> None:
    model = detector()
    names = [name for name, _ in model.named_parameters()]
    assert [name for name in names if 'region_scorer' in name] == []
    assert sum(name.endswith('last.weight') for name in names) == 1
    model.parse_losses(losses_of(model.train(), vocabulary()))[0].backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    tower = model.backbone.tower
    tower.passes = 0
    model.eval()
    with torch.no_grad():
        found = model.test_step(batch(vocabulary()))
    assert tower.passes == 1
    assert all(len(one.pred_instances) > 0 for one in found)


def test_pictures_without_proposals() -> None:
    model = detector().eval()
    empty = [InstanceData(bboxes=BOXES[:0])]
    with torch.no_grad():
        maps = model.features(torch.randn(1, 3, 96, 128))
        rescore = model._rescore(maps.backbone, empty, rows())
        (found,) = model.roi_head.predict(maps.roi, empty, [sample(vocabulary())], rows(), rescore=rescore)
    assert len(found) == 0


def test_wrong_settings_are_named() -> None:
    learned = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM)
    with pytest.raises(ConfigError, match='its classifier has weights'):
        build(scorer(classifier=learned))
    with pytest.raises(ConfigError, match='ResNet has no tower; take a TowerBackbone'):
        detector(backbone=model_config()['backbone'])
    config = model_config(with_mask=False, branches={})
    config['backbone'] = dict(type='vlm_dense.TowerBackbone', tower=PyramidTower())
    with pytest.raises(ConfigError, match='blends scores already'):
        build(dict(config, region_scorer=scorer()))
