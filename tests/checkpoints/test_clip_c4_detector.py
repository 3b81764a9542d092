"""RegionCLIP's files under our names; here the files are made up from our own weights."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from vlm_dense.checkpoints import load_state
from vlm_dense.checkpoints.adapters import to_mmdet_proposals, to_own_names
from vlm_dense.engine.loading import fill_model
from vlm_dense.registry import MODELS


class Detector(nn.Module):
    """The parts of the detector that have weights, under its names."""

    def __init__(self) -> None:
        super().__init__()
        from open_clip.modified_resnet import ModifiedResNet

        self.backbone = nn.ModuleDict(dict(tower=nn.Module()))
        self.backbone.tower.visual = ModifiedResNet((1, 1, 1, 1), 32, 2, image_size=64, width=8)
        box = nn.ModuleDict(dict(fc_reg=nn.Linear(32, 4)))
        mask = nn.ModuleDict(dict(upsample=nn.ConvTranspose2d(256, 4, 2), conv_logits=nn.Conv2d(4, 1, 1)))
        self.roi_head = nn.ModuleDict(dict(bbox_head=box, mask_head=mask))


def authors_file(model: nn.Module) -> dict[str, Tensor]:
    """A fine-tuned model as the authors save it."""
    theirs = {}
    for name, weight in model.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        name = name.replace('backbone.tower.visual.', 'backbone.')
        name = name.replace('roi_head.bbox_head.fc_reg', 'roi_heads.box_predictor.bbox_pred')
        name = name.replace('roi_head.mask_head.upsample', 'roi_heads.mask_head.deconv')
        theirs[name.replace('roi_head.mask_head.conv_logits', 'roi_heads.mask_head.predictor')] = weight
    others = {name.replace('backbone.', 'teacher_backbone.'): w + 1 for name, w in theirs.items() if 'backbone' in name}
    words = {f'roi_heads.box_predictor.{name}.weight': torch.ones(3, 32) for name in ('cls_score', 'test_cls_score')}
    offline = {'offline_backbone.stem.conv1.weight': torch.ones(1)}
    return theirs | others | words | offline


def test_a_whole_file_fills_the_detector_and_names_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    place = 'vlm_dense.checkpoints.adapters.renaming.print_log'
    monkeypatch.setattr(place, lambda text, **_: said.append(text))
    source, target = Detector(), Detector()
    torch.save(dict(model=authors_file(source), iteration=7), tmp_path / 'file.pth')
    coverage = load_state(target, tmp_path / 'file.pth', strict=True)
    for name, weight in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], weight), name
    assert coverage.is_complete
    kinds = {name.split('.')[0] for name in coverage.unexpected}
    assert kinds == {'teacher_backbone', 'roi_heads', 'offline_backbone'}
    for what in ("the teacher's tower", "the words' rows", 'the offline proposal network'):
        assert any(re.search(rf"\d+ weights are not the detector's: {what}", line) for line in said)


def test_the_runner_reads_it_too() -> None:
    source, target = Detector(), Detector()
    coverage = fill_model(target, dict(model=authors_file(source)), 'the file', whole=True)
    assert coverage.is_complete


def test_other_layouts_stay_as_they_are() -> None:
    weights = Detector().state_dict()
    found = to_own_names(weights)
    assert list(found) == list(weights)
    assert found._metadata is weights._metadata


def network(pyramid: bool) -> nn.Module:
    neck = dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=16, num_outs=5, norm_cfg=dict(type='BN'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(
            dict(
                type='mmdet.RPN',
                backbone=dict(
                    type='ResNet',
                    depth=50,
                    base_channels=8,
                    style='caffe',
                    **({} if pyramid else dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))),
                ),
                neck=neck if pyramid else None,
                rpn_head=dict(
                    type='RPNHead',
                    in_channels=16 if pyramid else 128,
                    feat_channels=16,
                    num_convs=2 if pyramid else 1,
                    anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[16]),
                ),
                train_cfg=None,
                test_cfg=dict(rpn=dict()),
            )
        )


def detectron2_names(weights: dict[str, Tensor], pyramid: bool) -> dict[str, Tensor]:
    """Written by hand from detectron2's modules: stem, res2 to res5 with shortcut, pyramid levels 2 to 5."""
    theirs, prefix = {}, 'backbone.bottom_up.' if pyramid else 'backbone.'
    for name, weight in weights.items():
        name = name.replace('backbone.conv1.', f'{prefix}stem.conv1.').replace(
            'backbone.bn1.', f'{prefix}stem.conv1.norm.'
        )
        for stage in range(1, 5):
            name = name.replace(f'backbone.layer{stage}.', f'{prefix}res{stage + 1}.')
        name = re.sub(r'(res\d\.\d+)\.bn(\d)\.', r'\1.conv\2.norm.', name)
        name = name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')
        for level in range(4):
            for ours, kind in (('lateral', 'lateral'), ('fpn', 'output')):
                name = name.replace(f'neck.{ours}_convs.{level}.conv.', f'backbone.fpn_{kind}{level + 2}.')
                name = name.replace(f'neck.{ours}_convs.{level}.bn.', f'backbone.fpn_{kind}{level + 2}.norm.')
        head = 'proposal_generator.rpn_head.'
        name = name.replace('bbox_head.rpn_cls', f'{head}objectness_logits').replace(
            'bbox_head.rpn_reg', f'{head}anchor_deltas'
        )
        name = re.sub(r'bbox_head\.rpn_conv\.(\d)\.conv', rf'{head}conv.conv\1', name)
        theirs[name.replace('bbox_head.rpn_conv', f'{head}conv')] = weight
    return theirs


@pytest.mark.parametrize('offline', [False, True])
@pytest.mark.parametrize('pyramid', [False, True])
def test_detectron2s_proposal_network(pyramid: bool, offline: bool) -> None:
    ours = network(pyramid).state_dict()
    theirs = detectron2_names(ours, pyramid)
    assert not set(theirs) & set(ours)
    if offline:
        theirs = {f'offline_{name}': weight for name, weight in theirs.items()}
        theirs |= {'backbone.conv1.weight': torch.ones(1)}  # the recognition tower of the same file
    else:
        theirs |= {'roi_heads.box_predictor.cls_score.weight': torch.ones(1)}
    found = to_mmdet_proposals(theirs)
    assert all(torch.equal(found[name], weight) for name, weight in ours.items())
    assert len(set(found) - set(ours)) == 1
    assert (set(found) - set(ours)).pop().startswith('detectron2:')


def test_mmdets_own_names_stay() -> None:
    ours = network(True).state_dict()
    assert to_mmdet_proposals(ours) == dict(ours)
