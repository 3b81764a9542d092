"""Several sizes of a picture, mirrored too: the mean of what each of them says by itself."""

from collections.abc import Callable
from typing import Any

import mmcv
import pytest
import side_adapter_parts
import torch
from mask_model_parts import crops, picture, segmentor
from mmseg.structures import SegDataSample
from segmentation_parts import EMBED_DIM, HashBank, tiny_head
from test_segmentation_chunks import CASES, SLIDE, dense_segmentor, pixel_segmentor
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.segmentors.views import Looks, scaled, views_of
from vlm_dense.registry import MODELS, TRANSFORMS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ('ant', 'bee', 'sky', 'sea', 'oak')
MORE = (*WORDS[::-1], 'elm', 'fir', 'yew')
SCALES = (0.75, 1.0, 1.6)
SIZES = ((64, 80), (71, 50), (64, 80))
ORIGINAL = (51, 61)
SEVERAL = dict(scales=SCALES, flip=True)
CLOSE = dict(rtol=1e-5, atol=1e-5)

KINDS: dict[str, Callable[[], nn.Module]] = {
    'column': CASES['column'],
    'gate': CASES['gate'],
    'film': CASES['film-threshold'],
    'dense': lambda: dense_segmentor(smooth=1.0),
    'own-words': lambda: pixel_segmentor(tiny_head(), kind='OwnWordsSegmentor'),
    'masks': segmentor,
    'crops': lambda: segmentor(dict(seen_penalty=0.1), **crops()),
    'masks2': lambda: segmentor(kind='Mask2Former'),
    'side': lambda: side_adapter_parts.ours().eval(),  # pads views and windows to multiples of 32
}


@MODELS.register_module()
class Multiples(nn.Module):
    """A backbone that takes multiples of 16 only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 8, stride=8), nn.Conv2d(6, 10, 2, stride=2)

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        assert not any(side % 16 for side in images_B3HW.shape[-2:])
        first_BChw = self.first(images_B3HW)
        return [first_BChw, self.second(first_BChw)]


def built(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = KINDS[kind]()
    if kind == 'side':
        for weight in model.parameters():
            nn.init.normal_(weight, std=0.2)
    return model


def pictures(model: nn.Module, *sizes: tuple[int, int]) -> list[Tensor]:
    like = next(model.parameters())
    return [picture(*size, seed).to(like) / 60 - 2 for seed, size in enumerate(sizes)]


@torch.no_grad()
def ask(model: nn.Module, given: list[Tensor], words: tuple = WORDS, meta: dict | None = None, **settings: Any) -> list:
    """Predictions with scores, for a batch that is padded with anything."""
    model.test_cfg = {**(model.test_cfg or {}), 'keep_scores': True, **settings}
    height, width = (max(one.shape[side] for one in given) for side in (1, 2))
    inputs, samples = [], []
    for one in given:
        below, beside = height - one.shape[1], width - one.shape[2]
        inputs.append(functional.pad(one, (0, beside, 0, below), value=3.0))
        sample = SegDataSample(
            metainfo=dict(ori_shape=ORIGINAL, img_padding_size=(0, beside, 0, below), **(meta or {}))
        )
        sample.set_metainfo(dict(vocabulary=Vocabulary.from_words(words, base=words[:3])))
        samples.append(sample)
    return model.predict(torch.stack(inputs), samples)


def one_by_one(model: nn.Module, one: Tensor, words: tuple = WORDS, **settings: Any) -> Tensor:
    """The mean of the score maps of every size and its mirror image, each asked for by itself."""
    found = []
    for scale in SCALES:
        size = tuple(int(side * scale + 0.5) for side in one.shape[1:])
        sized = functional.interpolate(one[None], size, mode='bilinear')[0]
        single = dict(scales=(1.0,), flip=False, **settings)
        found.append(ask(model, [sized], words, **single)[0].seg_logits.data)
        found.append(ask(model, [sized.flip(-1)], words, **single)[0].seg_logits.data.flip(-1))
    return torch.stack(found).mean(dim=0)


@pytest.mark.parametrize(
    ('kind', 'mode'), [*((kind, 'whole') for kind in KINDS), ('column', 'slide'), ('masks', 'slide'), ('side', 'slide')]
)
def test_scores_are_the_mean_of_single_ones_in_batches_of_mixed_sizes(kind: str, mode: str) -> None:
    model, settings = built(kind), dict(SLIDE, mode=mode)
    given = pictures(model, *SIZES)
    together = ask(model, given, **SEVERAL, **settings)
    for one, found in zip(given[1:], together[1:], strict=True):
        expected = one_by_one(model, one, **settings)
        torch.testing.assert_close(found.seg_logits.data, expected, **CLOSE)
    plain = ask(model, given[2:], scales=(1.0,), flip=False, **settings)[0].seg_logits.data
    assert not torch.allclose(plain, expected, **CLOSE)


@pytest.mark.parametrize(
    ('kind', 'mode'),
    [('column', 'slide'), ('gate', 'whole'), ('dense', 'whole'), ('masks', 'slide'), ('crops', 'whole')],
)
def test_words_at_once_and_other_words_before_change_nothing(kind: str, mode: str) -> None:
    model, settings = built(kind), dict(SLIDE, mode=mode, **SEVERAL)
    given = pictures(model, SIZES[1])
    first = ask(model, given, MORE, **settings)[0]
    assert len(first.seg_logits.data) == len(MORE) + (kind in ('column', 'gate'))
    ask(model, given, **settings)
    for at_once in (1, 3, None):
        found = ask(model, given, MORE, words_at_once=at_once, **settings)[0]
        assert torch.equal(found.seg_logits.data, first.seg_logits.data)
        assert torch.equal(found.pred_sem_seg.data, first.pred_sem_seg.data)
    assert torch.equal(first.pred_sem_seg.data[0], first.seg_logits.data.argmax(dim=0))


@pytest.mark.parametrize('kind', ['column', 'masks', 'side'])
def test_one_view_is_what_no_settings_give(kind: str) -> None:
    model = built(kind)
    given = pictures(model, *SIZES)
    plain = ask(model, given)
    for one, other in zip(plain, ask(model, given, scales=(1.0,), flip=False, size_multiple=1), strict=True):
        assert torch.equal(one.seg_logits.data, other.seg_logits.data)
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)


@pytest.mark.parametrize('kind', ['column', 'masks'])
@pytest.mark.parametrize(('direction', 'dims'), [('horizontal', [-1]), ('vertical', [-2]), ('diagonal', [-2, -1])])
def test_a_picture_that_the_pipeline_mirrored(kind: str, direction: str, dims: list[int]) -> None:
    model = built(kind)
    given = pictures(model, SIZES[1])
    upright = ask(model, given, **SEVERAL)[0].seg_logits.data
    mirrored = ask(model, given, meta=dict(flip=True, flip_direction=direction), **SEVERAL)[0].seg_logits.data
    torch.testing.assert_close(mirrored.flip(dims), upright, **CLOSE)


def test_a_backbone_gets_multiples_of_what_it_needs() -> None:
    classifier = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM, temperature=0.07, background=None)
    shape = dict(in_channels=(6, 10), channels=8, embed_dim=EMBED_DIM, shrink=2)
    head = dict(type='vlm_dense.PyramidPixelHead', classifier=classifier, **shape)
    model = pixel_segmentor(head, dict(type='vlm_dense.Multiples'))
    (one,) = pictures(model, (70, 51))
    views = []
    for size in ((32, 32), (64, 48), (112, 80)):  # 35 x 25.5, 70 x 51 and 112 x 81.6 pixels, as the nearest multiples
        sized = functional.interpolate(one[None], size, mode='bilinear')[0]
        views.append(ask(model, [sized], scales=(1.0,))[0].seg_logits.data)
    found = ask(model, [one], scales=(0.5, 1.0, 1.6), size_multiple=16)[0].seg_logits.data
    torch.testing.assert_close(found, torch.stack(views).mean(dim=0), **CLOSE)


def test_sizes() -> None:
    assert scaled((70, 51), 0.5, 1) == (35, 26)
    assert scaled((70, 51), 0.5, 16) == (32, 32)
    assert scaled((3, 100), 0.1, 1) == (1, 10)
    assert scaled((3, 100), 0.1, 16) == (16, 16)


def test_pictures_differ_from_resized_bytes_by_rounding_only() -> None:
    bytes_3HW = picture(60, 90)
    for scale in (0.5, 0.75, 1.25, 1.75):
        ((found_13hw, flips),) = views_of(bytes_3HW[None].float(), Looks(scales=(scale,)))
        expected_hw3 = mmcv.imrescale(bytes_3HW.permute(1, 2, 0).numpy(), scale)
        assert flips == ()
        torch.testing.assert_close(found_13hw[0].permute(1, 2, 0), torch.tensor(expected_hw3).float(), rtol=0, atol=1)


@pytest.mark.parametrize('kind', ['column', 'film', 'own-words', 'masks', 'side'])
def test_short_sides_of_mmsegs_pipeline(kind: str) -> None:
    model = built(kind).float()
    if kind not in ('masks', 'side'):
        model.text_bank = HashBank()
    resize = TRANSFORMS.build(dict(type='mmseg.ResizeShortestEdge', scale=64, max_size=80))
    for size, wanted in (((40, 45), (64, 72)), ((45, 30), (80, 53))):
        bytes_HW3 = picture(*size).permute(1, 2, 0).numpy()
        given = resize(dict(img=bytes_HW3, img_shape=size, ori_shape=size))
        assert given['img'].shape[:2] == given['img_shape'] == wanted
        packed = TRANSFORMS.build(dict(type='mmseg.PackSegInputs'))(given)
        packed['data_samples'].set_metainfo(dict(vocabulary=Vocabulary.from_words(WORDS, base=WORDS[:3])))
        model.test_cfg = dict(keep_scores=True, **SEVERAL)
        with torch.no_grad():
            (found,) = model.test_step(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
        assert found.pred_sem_seg.data.shape == (1, *size)
        assert torch.equal(found.pred_sem_seg.data[0], found.seg_logits.data.argmax(dim=0))


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        (dict(scales=()), r'scales=\(\); list at least one positive number'),
        (dict(scales=1.5), 'scales=1.5'),
        (dict(scales='0.5'), "scales='0.5'"),
        (dict(scales=(0.5, 0)), 'scales'),
        (dict(scales=(0.5, float('inf'))), 'scales'),
        (dict(scales=(True,)), 'scales'),
        (dict(flip='horizontal'), "flip='horizontal'; give True or False"),
        (dict(size_multiple=0), 'size_multiple=0; give a positive whole number'),
        (dict(size_multiple=1.5), 'size_multiple=1.5'),
        (dict(scale=(0.5, 1.0)), "has no 'scale'; did you mean 'scales'"),
        (dict(sizes=32), "has no 'sizes'"),
    ],
)
def test_wrong_settings_are_refused_when_the_model_is_built(settings: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=f'test_cfg.*{reason}'):
        segmentor(settings)


@pytest.mark.parametrize('missing', ['crop_size', 'stride'])
def test_windows_without_a_size_are_refused(missing: str) -> None:
    settings = {name: value for name, value in SLIDE.items() if name != missing}
    model = segmentor(settings)
    with pytest.raises(ConfigError, match=f"'slide' needs {missing}"):
        ask(model, pictures(model, SIZES[0]))
