"""The grounding head without fusion against mmdet's, with the same weights, and what holds for any grounding head."""

from pathlib import Path

import pytest
import torch
from grounding_parts import (
    METAS,
    assert_same_detections,
    ours,
    prompt_of,
    pyramid,
    shared_config,
    texts,
    their_samples,
    their_text,
    trimmed,
    truths,
    twice,
    with_same_weights,
)
from mmengine.registry import init_default_scope
from torch import nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.grounding import TextTokens, TextWords
from vlm_dense.models.heads.grounding.detections import best_of
from vlm_dense.models.heads.grounding.positive_boxes import centerness
from vlm_dense.registry import MODELS

WIDTH = 32


@pytest.fixture(scope='module', autouse=True)
def _scope() -> None:
    init_default_scope('mmdet')


def pair(folder: Path, **test: object) -> tuple[nn.Module, nn.Module]:
    return with_same_weights(folder, fuse=False, width=WIDTH, **test)


@pytest.mark.parametrize('rescale', [True, False])
def test_detections_are_mmdets(tmp_path: Path, rescale: bool) -> None:
    head, other = pair(tmp_path)
    maps, text = pyramid(width=WIDTH), texts((12,))
    with torch.no_grad():
        expected = other.predict(maps, their_text(twice(text)), their_samples(), rescale=rescale)
        found = head.predict(maps, [prompt_of(text)], METAS, rescale=rescale)
    assert_same_detections(found, expected)


@pytest.mark.parametrize('counts', [(3, 2), (2, 0), (0, 0)])
def test_losses_and_gradients_are_mmdets(tmp_path: Path, counts: tuple[int, int]) -> None:
    head, other = pair(tmp_path)
    maps, text, samples = pyramid(width=WIDTH), texts(), truths(counts, wide=WIDTH)
    found = head.loss(maps, text, trimmed(samples, 12))
    expected = other.loss(maps, their_text(text, WIDTH), samples)
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, atol=1e-4, rtol=1e-5)
    sum(found.values()).backward()
    sum(expected.values()).backward()
    assert found['loss_cls'] > 0
    gradients = {name: weight.grad for name, weight in head.named_parameters()}
    for name, weight in other.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, atol=1e-4, rtol=1e-3)


def test_prompts_are_merged_exactly_and_rows_are_kept(tmp_path: Path) -> None:
    head, other = pair(tmp_path, max_per_img=15)
    maps, asked = pyramid(width=WIDTH), [texts((12,)) for _ in range(3)]
    first_rows = (8, 0, 4)
    prompts = [prompt_of(text, row) for text, row in zip(asked, first_rows, strict=True)]
    singles = []
    for text, row in zip(asked, first_rows, strict=True):
        singles.append(other.predict(maps, their_text(twice(text)), their_samples()))
        for single in singles[-1]:
            single.labels += row
    expected = [best_of([single[row] for single in singles], 15) for row in range(2)]
    assert {label // 4 for part in expected for label in part.labels.tolist()} == {0, 1, 2}
    with torch.no_grad():
        assert_same_detections(head.predict(maps, prompts, METAS), expected)


def test_without_fusion_the_tower_runs_once_for_all_prompts(tmp_path: Path) -> None:
    head, _ = pair(tmp_path)
    runs = []
    head.head.dyhead_tower[0].register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        head.predict(pyramid(width=WIDTH), [prompt_of(texts((12,)), row) for row in (0, 4, 8)], METAS)
    assert len(runs) == 1


def test_nothing_found_is_an_empty_answer() -> None:
    head = ours(fuse=False, width=WIDTH, score_thr=1.0).eval()
    with torch.no_grad():
        found = head.predict(pyramid(width=WIDTH), [prompt_of(texts((12,)))] * 2, METAS)
    assert [(tuple(part.bboxes.shape), len(part.scores), len(part.labels)) for part in found] == [((0, 4), 0, 0)] * 2


def test_centerness_is_that_of_fcos_and_nan_outside() -> None:
    anchors = torch.tensor([[2.0, 2.0, 6.0, 6.0], [0.0, 0.0, 2.0, 2.0], [10.0, 0.0, 12.0, 2.0]])
    targets = torch.tensor([[0.0, 0.0, 10.0, 16.0], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0]])
    # Centre (4, 4): left 4, right 6, top 4, bottom 12.
    torch.testing.assert_close(
        centerness(anchors, targets), torch.tensor([(4 / 6 * 4 / 12) ** 0.5, 1.0, torch.nan]), equal_nan=True
    )


def test_a_ground_truth_without_area_gives_finite_losses(capsys: pytest.CaptureFixture[str]) -> None:
    head, samples = ours(fuse=False, width=WIDTH), trimmed(truths((2, 1)), 12)
    for sample in samples:
        sample.gt_instances.bboxes[0, 2:] = sample.gt_instances.bboxes[0, :2]
    losses = head.loss(pyramid(width=WIDTH), texts(), samples)
    assert all(loss.isfinite() for loss in losses.values())
    assert capsys.readouterr().out == ''


class Probe(nn.Module):
    """Remembers what it is called with."""

    seen: list = []

    def forward(
        self, region_BNC: torch.Tensor, positive_BNL: torch.Tensor, text: TextTokens, words: TextWords | None
    ) -> dict:
        self.seen[:] = [region_BNC, positive_BNL, text, words]
        return {'loss_pairs': region_BNC.sum() * 0 + 2}


@pytest.mark.parametrize('where', ['pyramid', 'tower'])
def test_further_losses_get_regions_and_their_tokens(where: str) -> None:
    MODELS.register_module(name='Probe', module=Probe, force=True)
    aux = {'aux_losses': {'contrast': dict(type='vlm_dense.Probe')}, 'aux_regions': where}
    head, maps, text = ours(fuse=False, width=WIDTH, head=aux), pyramid(width=WIDTH), texts()
    said = TextWords(torch.zeros(2, 12, dtype=torch.int64), torch.tensor([True, False]))
    losses = head.loss(maps, text, trimmed(truths(), 12), words=said)
    assert losses['contrast.loss_pairs'] == 2
    region_BNC, positive_BNL, given, words = Probe.seen
    assert words is said
    assert region_BNC.shape == (2, 257, WIDTH)
    assert positive_BNL.shape == (2, 257, 12)
    assert 0 < positive_BNL.sum() == positive_BNL.count_nonzero()
    assert given is text
    assert torch.equal(region_BNC[0, :192], maps[0][0].flatten(1).T) == (where == 'pyramid')


def test_sizes_follow_from_arguments() -> None:
    """A small text tower and a small fusion: their widths, and nothing of the defaults, are in the weights."""
    sizes = {'text': dict(width=48, num_heads=4, intermediate=96), 'fusion': dict(embed_width=64, num_heads=2)}
    shapes = {name: tuple(weight.shape) for name, weight in ours(True, WIDTH, 1, sizes).state_dict().items()}
    assert shapes['head.dyhead_tower.0.b_attn.attn.l_proj.weight'] == (64, 48)
    assert shapes['head.dyhead_tower.1.intermediate.dense.weight'] == (96, 48)
    assert shapes['head.dot_product_projection_text.weight'] == (WIDTH, 48)
    assert not any(size in (256, 768, 2048, 3072) for shape in shapes.values() for size in shape)


def test_wrong_arguments_are_named() -> None:
    wide = {**shared_config()['anchor_generator'], 'ratios': [0.5, 1.0]}
    with pytest.raises(ConfigError, match='2 anchors per place'):
        ours(fuse=False, width=WIDTH, head={'anchor_generator': wide})
    with pytest.raises(ConfigError, match="choose 'pyramid' or 'tower'"):
        ours(fuse=False, width=WIDTH, head={'aux_regions': 'neck'})


def test_mixed_precision_ends_at_the_outputs_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors and words' scores are exact on a wide picture, where bfloat16 has one number in eight."""
    head, _ = pair(tmp_path)
    maps = [torch.randn(1, WIDTH, *size) for size in ((2, 160), (1, 80), (1, 40), (1, 20), (1, 10))]
    prompts, metas = [prompt_of(texts((12,)))], [{'img_shape': (16, 1280), 'scale_factor': (1.0, 1.0)}]
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        (found,) = head.predict([level.bfloat16() for level in maps], prompts, metas)
        outputs = head([level.bfloat16() for level in maps], prompts[0].text)
    monkeypatch.setattr(head, '_read_each', lambda *_: iter([outputs]))
    (expected,) = head.predict(maps, prompts, metas)
    assert expected.bboxes.max() > 1024
    assert len(expected) == len(found) > 3
    for name in ('bboxes', 'scores', 'labels'):
        assert torch.equal(found[name], expected[name]), name
