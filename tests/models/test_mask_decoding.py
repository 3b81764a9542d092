"""Labels of pixels against all maps at once in double precision; panoptic maps and instances against mmdet's."""

from itertools import pairwise

import pytest
import torch
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.structures import DetDataSample
from mmengine import ConfigDict
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from vlm_dense.errors import ConfigError
from vlm_dense.models.heads.mask.decoding import (
    Frame,
    MaskWindow,
    PanopticRules,
    SemanticMaps,
    SemanticRules,
    Strips,
    instances,
    panoptic_map,
    strips,
    things_of,
)
from vlm_dense.models.segmentors.ov_encoder_decoder import windows
from vlm_dense.text.vocabulary import Vocabulary

N, K, THINGS = 9, 70, 40
SIZE, ORIGINAL = (45, 83), (57, 71)
IS_BASE = torch.arange(K) % 3 == 0
IS_THING = torch.arange(K) < THINGS
FLIPS = {'upright': [], 'horizontal': [-1], 'vertical': [-2]}


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few rows, the last of them shorter."""
    torch.manual_seed(0)
    monkeypatch.setattr(strips, 'STRIP_PIXELS', 5 * ORIGINAL[1])


def masks(size: tuple[int, int] = (12, 21), dtype: torch.dtype = torch.double) -> Tensor:
    """Smooth ones, each with a part of the picture of its own, which overlap somewhat."""
    field_Nhw = functional.interpolate(torch.randn(1, N, 4, 5, dtype=dtype), size, mode='bicubic')[0]
    return 6 * (field_Nhw - field_Nhw.amax(dim=0)) + 2


def scores(columns: int, dtype: torch.dtype = torch.double) -> Tensor:
    """Probabilities of the columns; a void has the rest."""
    return (torch.randn(N, columns + 1, dtype=dtype) * 3).softmax(dim=1)[:, :columns]


def resized(maps_SHW: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps_SHW[None], size, mode='bilinear')[0]


def cuts(mode: str) -> list[MaskWindow]:
    places = [(slice(0, SIZE[0]), slice(0, SIZE[1]))]
    if mode == 'slide':
        places = list(windows(SIZE, (32, 48), (16, 32)))
    sizes = [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in places]
    return [MaskWindow(*place, masks(), size) for place, size in zip(places, sizes, strict=True)]


def all_maps(found: list[MaskWindow], score: list[Tensor], flips: list[int]) -> Tensor:
    """(S, H, W) from the definition: windows averaged, flip undone, resized."""
    total, count = torch.zeros(score[0].shape[1], *SIZE, dtype=torch.double), torch.zeros(SIZE)
    for window, score_NS in zip(found, score, strict=True):
        prob_NHW = resized(window.mask_Nhw, window.padded).sigmoid()
        total[:, window.rows, window.columns] += torch.einsum('ns,nhw->shw', score_NS, prob_NHW)
        count[window.rows, window.columns] += 1
    return resized((total / count).flip(flips), ORIGINAL)


@pytest.mark.parametrize('background', [False, True])
@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('flips', FLIPS.values(), ids=FLIPS)
def test_pixels_are_labelled_as_with_all_maps_at_once(mode: str, flips: list[int], background: bool) -> None:
    found = cuts(mode)
    score = [scores(K + background) for _ in found]
    expected_SHW = all_maps(found, score, flips)
    expected_SHW[:K] -= 0.1 * IS_BASE[:, None, None].double()
    got = SemanticMaps(
        Strips(found, Frame(SIZE, ORIGINAL, flips), 'input'), torch.cat(score), IS_BASE, SemanticRules(0.1)
    )
    torch.testing.assert_close(got.scores(), expected_SHW, rtol=0, atol=1e-12)
    labels_HW = got.labels()
    assert torch.equal(labels_HW, expected_SHW.argmax(dim=0))
    assert len(labels_HW.unique()) > 3


@pytest.mark.parametrize('background', [False, True])
def test_where_no_word_reaches_the_threshold_is_background(background: bool) -> None:
    found, score = cuts('whole'), scores(K + background)
    maps_SHW = all_maps(found, [score], [])
    threshold = float(maps_SHW[:K].amax(dim=0).median()) + 1e-6
    frame = Frame(SIZE, ORIGINAL)
    got = SemanticMaps(Strips(found, frame, 'input'), score, IS_BASE, SemanticRules(threshold=threshold))
    best_HW, expected_HW = maps_SHW[:K].max(dim=0)
    is_other_HW = best_HW < threshold
    if background:
        is_other_HW |= maps_SHW[K] > best_HW
    assert torch.equal(got.labels(), expected_HW.masked_fill(is_other_HW, K))
    assert got.scores().shape == (K + 1, *ORIGINAL)
    assert torch.equal(got.scores().argmax(dim=0), got.labels())


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_words_at_once_change_no_bit(mode: str) -> None:
    found = [window._replace(mask_Nhw=window.mask_Nhw.float()) for window in cuts(mode)]
    score = torch.cat([scores(K + 1, torch.float) for _ in found])
    grid = Strips(found, Frame(SIZE, ORIGINAL), 'input')
    got = [SemanticMaps(grid, score, IS_BASE, SemanticRules(0.1, None, at_once)) for at_once in (None, 1, 7, 64, 900)]
    for one, other in pairwise(got):
        assert torch.equal(one.scores(), other.scores())
        assert torch.equal(one.labels(), other.labels())
    assert torch.equal(got[0].labels(), got[0].scores().argmax(dim=0))
    with pytest.raises(ConfigError, match='words_at_once=0'):
        SemanticMaps(grid, score, IS_BASE, SemanticRules(words_at_once=0))


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest new tensor had."""

    numbers = 0

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


def test_neither_the_maps_of_all_words_nor_of_all_masks_are_held() -> None:
    words, original = 900, (300, 200)
    window = MaskWindow(slice(0, SIZE[0]), slice(0, SIZE[1]), masks(), SIZE)
    score = scores(words)
    with Largest() as largest:
        maps = SemanticMaps(Strips([window], Frame(SIZE, original), 'input'), score, torch.ones(words), SemanticRules())
        maps.labels()
    assert 0 < largest.numbers <= original[0] * original[1]


def test_masks_become_probabilities_before_or_after_they_are_resized() -> None:
    window = MaskWindow(slice(0, SIZE[0]), slice(0, SIZE[1]), masks(), SIZE)
    at_input_NHW = resized(window.mask_Nhw, SIZE)
    for kind, expected_NHW in (
        ('input', resized(at_input_NHW.sigmoid(), ORIGINAL)),
        ('original', resized(at_input_NHW, ORIGINAL).sigmoid()),
        ('none', resized(at_input_NHW, ORIGINAL)),
    ):
        got_NHW = torch.cat([strip.values_MrW for strip in Strips([window], Frame(SIZE, ORIGINAL), kind)], dim=1)
        torch.testing.assert_close(got_NHW, expected_NHW, rtol=0, atol=1e-12)


def fused(logits_NK1: Tensor, mask_NHW: Tensor, size: tuple[int, int], **settings: object) -> dict:
    """What mmdet's head makes of the same masks, already at the size of the padded input."""
    head = MaskFormerFusionHead(THINGS, K - THINGS, test_cfg=ConfigDict(instance_on=True, **settings))
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=ORIGINAL))
    return head.predict(logits_NK1[None], mask_NHW[None], [sample], rescale=True)[0]


def padded_window(size: tuple[int, int]) -> tuple[MaskWindow, Tensor]:
    """A picture of ``size`` on an input of `SIZE`."""
    mask_Nhw = masks()
    return MaskWindow(slice(0, size[0]), slice(0, size[1]), mask_Nhw, SIZE), resized(mask_Nhw, SIZE)


@pytest.mark.parametrize(
    ('thing_bias', 'rules'),
    [
        (0.0, PanopticRules(0.5)),
        (0.0, PanopticRules(0.0, 0.4)),
        (2.0, PanopticRules(0.3, 0.6, True)),
        (-2.0, PanopticRules(0.0, 0.0, True)),
        (0.0, PanopticRules(1.0)),
    ],
)
def test_panoptic_maps_are_those_of_mmdet(thing_bias: float, rules: PanopticRules) -> None:
    logits_NK1 = torch.randn(N, K + 1, dtype=torch.double)
    # Two masks of one stuff, two of one thing, one of nothing.
    logits_NK1[torch.arange(N), [45, 45, 3, 3, K, 7, 66, 20, 50]] += 9
    logits_NK1[:, :THINGS] += thing_bias
    window, mask_NHW = padded_window((41, 70))
    expected_HW = fused(logits_NK1, mask_NHW, (41, 70), **rules._asdict())['pan_results'].sem_seg[0]
    score_NK = logits_NK1.softmax(dim=1)[:, :-1]
    found_HW = panoptic_map(score_NK, window, Frame((41, 70), ORIGINAL), IS_THING, rules)
    assert found_HW.dtype == expected_HW.dtype
    assert torch.equal(found_HW, expected_HW)
    if rules.object_mask_thr < 1:
        assert len(found_HW.unique()) > 3


def test_what_is_mostly_background_is_no_segment() -> None:
    window, _ = padded_window(SIZE)
    score_NS = torch.full((N, K + 1), 1e-3, dtype=torch.double)
    score_NS[:, 5], score_NS[:, K] = 0.45, 0.4
    score_NS[0, 5], score_NS[0, K] = 0.4, 0.45
    rules = PanopticRules(0.0, 0.0)
    found_HW = panoptic_map(score_NS, window, Frame(SIZE, ORIGINAL), IS_THING, rules)
    without_HW = panoptic_map(
        score_NS[1:], window._replace(mask_Nhw=window.mask_Nhw[1:]), Frame(SIZE, ORIGINAL), IS_THING, rules
    )
    assert torch.equal(found_HW, without_HW)


def test_labels_of_panoptic_maps_stay_below_a_thousand() -> None:
    window, _ = padded_window(SIZE)
    score_NK = torch.full((N, 999), 1e-4, dtype=torch.double)
    score_NK[:, 998] = 0.9
    found_HW = panoptic_map(
        score_NK, window, Frame(SIZE, ORIGINAL), torch.ones(999, dtype=torch.bool), PanopticRules(0.8, 0)
    )
    assert set((found_HW % 1000).unique().tolist()) == {998}
    with pytest.raises(ConfigError, match='1000 words do not fit'):
        panoptic_map(scores(1000), window, Frame(SIZE, ORIGINAL), torch.ones(1000, dtype=torch.bool), PanopticRules())


@pytest.mark.parametrize('limit', [8, 100])
def test_instances_are_those_of_mmdet(limit: int) -> None:
    logits_NK1 = torch.randn(N, K + 1, dtype=torch.double) * 3
    window, mask_NHW = padded_window((41, 70))
    window.mask_Nhw[4], mask_NHW[4] = -9, -9  # An empty mask has a box of zeros.
    logits_NK1[4, 2] += 20
    expected = fused(logits_NK1, mask_NHW, (41, 70), max_per_image=limit)['ins_results']
    score_NK = logits_NK1.softmax(dim=1)[:, :-1]
    found = instances(score_NK, window, Frame((41, 70), ORIGINAL), IS_THING, limit)
    order = expected.scores.argsort(descending=True, stable=True)
    assert len(found) == len(order) > 2
    torch.testing.assert_close(found.scores, expected.scores[order], rtol=0, atol=1e-6)  # mmdet counts in float32
    for name in ('labels', 'masks', 'bboxes'):
        assert torch.equal(found[name], expected[name][order]), name


def test_without_things_there_are_no_instances() -> None:
    window, _ = padded_window(SIZE)
    found = instances(scores(K), window, Frame(SIZE, ORIGINAL), torch.zeros(K, dtype=torch.bool))
    assert (len(found), found.masks.shape, found.bboxes.shape) == (0, (0, *ORIGINAL), (0, 4))


def test_order_of_words_changes_indices_only() -> None:
    window, _ = padded_window(SIZE)
    order = torch.randperm(K)
    frame, score_NK, back = Frame(SIZE, ORIGINAL), scores(K), order.argsort()
    maps = [
        SemanticMaps(Strips([window], frame, 'input'), score, IS_BASE[rows], SemanticRules(0.1)).labels()
        for score, rows in ((score_NK, torch.arange(K)), (score_NK[:, order], order))
    ]
    assert torch.equal(back[maps[0]], maps[1])
    found = [
        panoptic_map(score, window, frame, IS_THING[rows], PanopticRules(0.0, 0.0))
        for score, rows in ((score_NK, torch.arange(K)), (score_NK[:, order], order))
    ]
    assert torch.equal(torch.cat([back, torch.tensor([K])])[found[0] % 1000], found[1] % 1000)
    assert torch.equal(found[0] // 1000, found[1] // 1000)


def test_words_are_things_unless_the_vocabulary_says_otherwise() -> None:
    device = torch.device('cpu')
    assert things_of(Vocabulary.from_words(['ant', 'sky']), device).tolist() == [True, True]
    assert things_of(Vocabulary.from_words(['ant', 'sky'], is_thing=[True, False]), device).tolist() == [True, False]
