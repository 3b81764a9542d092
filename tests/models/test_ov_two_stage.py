"""The contract of a detector: words travel with the request, and nothing else depends on them."""

from pathlib import Path

import pytest
import torch
from detection_parts import (
    BOXES,
    EMBED_DIM,
    batch,
    build,
    losses_of,
    model_config,
    predictions,
    tiny_detector,
    vocabulary,
)
from mmengine.runner.checkpoint import load_checkpoint, save_checkpoint
from mmengine.structures import InstanceData
from safetensors.torch import save_file
from torch import nn

from vlm_dense.errors import ConfigError
from vlm_dense.models import words_of
from vlm_dense.models.branches import Regions


@pytest.fixture(scope='module')
def trained() -> nn.Module:
    """A detector after some steps on two pictures, so that scores differ between words."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    detector = tiny_detector().train()
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    for _ in range(10):
        total, _ = detector.parse_losses(losses_of(detector, vocabulary()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return detector


def rounded(found: InstanceData, words: list[str]) -> list[tuple]:
    """Detections as comparable tuples, independent of the order of equal scores."""
    boxes = found.bboxes.double().round(decimals=3).tolist()
    scores = found.scores.double().round(decimals=5).tolist()
    return sorted(zip(words, scores, map(tuple, boxes), strict=True))


def test_losses_are_finite_and_reach_every_parameter() -> None:
    detector = tiny_detector().train()
    losses = losses_of(detector, vocabulary())
    named = {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'acc', 'loss_bbox', 'loss_mask', 'image.loss_distill'}
    assert set(losses) == named
    total, log = detector.parse_losses(losses)
    assert all(torch.as_tensor(value).isfinite() for value in log.values())
    total.backward()
    without = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_repeated_steps_lower_the_loss() -> None:
    detector = tiny_detector().train()
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=0.005)
    totals = []
    for _ in range(4):
        torch.manual_seed(1)  # the same sampled regions every time
        total, _ = detector.parse_losses(losses_of(detector, vocabulary()))
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[1] < totals[0]
    assert totals[3] < totals[1]


def test_permuting_the_words_permutes_only_the_indices(trained: nn.Module) -> None:
    plain = predictions(trained, vocabulary('ant bee cat dog'))
    permuted = predictions(trained, vocabulary('dog bee ant cat'))
    for one, other in zip(plain, permuted, strict=True):
        assert len(one.pred_instances) == 30
        assert rounded(one.pred_instances, words_of(one)) == rounded(other.pred_instances, words_of(other))
        assert one.pred_instances.labels.tolist() != other.pred_instances.labels.tolist()


@pytest.mark.parametrize('scores_at_once', [1, 300])
def test_scores_in_parts_change_nothing(
    trained: nn.Module, scores_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = vocabulary(' '.join(f'word{number}' for number in range(40)), 'word3')
    whole = predictions(trained, asked)
    monkeypatch.setitem(trained.roi_head.test_cfg, 'scores_at_once', scores_at_once)
    for one, other in zip(whole, predictions(trained, asked), strict=True):
        assert len(one.pred_instances) == 30
        torch.testing.assert_close(other.pred_instances.scores, one.pred_instances.scores, rtol=1e-5, atol=0)
        torch.testing.assert_close(other.pred_instances.bboxes, one.pred_instances.bboxes)
        assert torch.equal(other.pred_instances.labels, one.pred_instances.labels)


def test_words_never_seen_in_training(trained: nn.Module) -> None:
    asked = vocabulary(' '.join(f'word{number}' for number in range(40)), 'word3')
    for found in predictions(trained, asked):
        assert found.vocabulary == asked
        assert found.pred_instances.scores.isfinite().all()
        assert int(found.pred_instances.labels.max()) < 40
        assert set(words_of(found)) <= set(asked.words)
    assert len(predictions(trained, vocabulary('yak', 'yak'))[0].pred_instances) > 0


def test_state_holds_neither_teacher_nor_words(trained: nn.Module) -> None:
    names = set(trained.state_dict())
    assert {name.split('.')[0] for name in names} == {'backbone', 'neck', 'rpn_head', 'roi_head'}
    # The whole of what the words leave behind is the background vector.
    assert [name for name in names if 'classifier' in name] == ['roi_head.bbox_head.classifier.extra.learned_ED']
    shapes = [tuple(value.shape) for value in trained.state_dict().values()]
    assert (len(vocabulary()), EMBED_DIM) not in shapes


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_saved_and_loaded_gives_the_same(trained: nn.Module, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f'detector{suffix}'
    if suffix == '.pth':
        save_checkpoint(dict(state_dict=trained.state_dict(), meta={}), str(path))
    else:
        save_file({name: value.contiguous() for name, value in trained.state_dict().items()}, path)
    other = tiny_detector()
    load_checkpoint(other, str(path), map_location='cpu', strict=True)
    for one, same in zip(predictions(trained, vocabulary()), predictions(other, vocabulary()), strict=True):
        assert torch.equal(one.pred_instances.bboxes, same.pred_instances.bboxes)
        assert torch.equal(one.pred_instances.scores, same.pred_instances.scores)
        assert torch.equal(one.pred_instances.masks, same.pred_instances.masks)


def test_boxes_alone_and_other_forms_of_distillation() -> None:
    for distill in ('none', 'shared'):
        branches = {} if distill == 'none' else None
        detector = tiny_detector(with_mask=False, distill=distill, branches=branches).train()
        losses = losses_of(detector, vocabulary())
        assert ('image.loss_distill' in losses) == (distill == 'shared')
        assert 'masks' not in predictions(detector, vocabulary())[0].pred_instances


def test_regions_read_from_the_backbones_last_map() -> None:
    config = model_config(with_mask=False)
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=64,
        featmap_strides=[32],
    )
    config['roi_source'] = 'backbone'
    config['roi_head']['bbox_roi_extractor'] = extractor
    config['roi_head']['shared_head'] = dict(type='ConvModule', in_channels=64, out_channels=16, kernel_size=1)
    detector = build(config).train()
    total, _ = detector.parse_losses(losses_of(detector, vocabulary()))
    total.backward()
    assert detector.roi_head.shared_head.conv.weight.grad.abs().sum() > 0
    assert len(predictions(detector, vocabulary())[0].pred_instances) > 0


class Probe(nn.Module):
    """A branch that remembers what it was given."""

    embedding = 'text'

    def __init__(self, batch: str) -> None:
        super().__init__()
        self.batch = batch

    def sample(self, proposals: list, data_samples: list) -> Regions:
        self.samples = data_samples
        return Regions([found.bboxes[:3] for found in proposals])

    def losses(self, region_ND: torch.Tensor, regions: Regions, pictures_B3HW: torch.Tensor, samples: list) -> dict:
        self.pictures_B3HW = pictures_B3HW
        return {'loss_probe': region_ND.square().sum() / max(len(regions), 1)}


def named(detector: nn.Module, **batches: dict) -> dict:
    ready = {name: detector.data_preprocessor(given, True) for name, given in batches.items()}
    inputs = {name: given['inputs'] for name, given in ready.items()}
    return detector.loss(inputs, {name: given['data_samples'] for name, given in ready.items()})


def probed(name: str) -> nn.Module:
    detector = tiny_detector(with_mask=False, distill='none', branches={})
    detector.branches['probe'] = Probe(name)
    return detector.train()


def test_named_batches_reach_the_branches_that_name_them() -> None:
    detector = probed('captions')
    losses = named(detector, boxes=batch(vocabulary()), captions=batch(vocabulary('elk', 'elk'), count=3))
    assert 'probe.loss_probe' in losses
    assert 'loss_cls' in losses
    probe = detector.branches['probe']
    assert len(probe.samples) == len(probe.pictures_B3HW) == 3
    assert probe.pictures_B3HW.min() > -1e-3
    assert 200 < probe.pictures_B3HW.max() < 256
    total, _ = detector.parse_losses(losses)
    total.backward()


def test_a_batch_without_boxes_trains_its_branch_alone() -> None:
    detector = probed('captions')
    assert set(named(detector, captions=batch(vocabulary()))) == {'probe.loss_probe'}


def test_wrong_batches_are_named() -> None:
    with pytest.raises(ConfigError, match=r"branch 'probe' is fed by the batch 'captions'"):
        named(probed('captions'), boxes=batch(vocabulary()))
    with pytest.raises(ConfigError, match=r"no branch reads the batch 'extra'"):
        named(probed('boxes'), boxes=batch(vocabulary()), extra=batch(vocabulary()))


def test_wrong_parts_are_named() -> None:
    with pytest.raises(ConfigError, match=r'text bank gives 16 numbers per word, the box head 12'):
        tiny_detector(embed_dim=12)
    with pytest.raises(ConfigError, match=r"branch 'image' distils"):
        tiny_detector(distill='none')
    with pytest.raises(ConfigError, match='roi_source'):
        build(dict(model_config(), roi_source='fpn'))


def test_samples_are_left_as_they_were() -> None:
    detector = tiny_detector(with_mask=False).train()
    ready = detector.data_preprocessor(batch(vocabulary()), True)
    detector.loss(ready['inputs'], ready['data_samples'])
    truth = ready['data_samples'][0].gt_instances
    assert truth.labels.tolist() == [0, 1]
    assert torch.equal(truth.bboxes, BOXES)
