"""Labels found a few words at a time against a reference that holds all maps at the size of the picture.

In double precision, where no two different words are closer than any rounding.
"""

from collections.abc import Callable

import pytest
import torch
from segmentation_parts import EMBED_DIM, HashBank, images, samples, tiny_backbone, tiny_head
from test_segmentation_dense_map import HashNamesBank, segmentor
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.row_maps import GridMaps, resize_rows
from vlm_dense.models.segmentors.ov_encoder_decoder import windows
from vlm_dense.models.segmentors.picture_maps import PictureMaps, View, Window
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = [f'word {number}' for number in range(40)]
SYNONYMS = [(f'{word}a', f'{word}b') if number % 9 == 4 else () for number, word in enumerate(WORDS)]
BACKGROUND = ('sky', 'wall', 'grass')
SIZE, ORIGINAL = (45, 83), (57, 71)
SLIDE = dict(mode='slide', crop_size=(32, 48), stride=(16, 32))
CHUNKS = (1, 7, 32, len(WORDS), None)


@MODELS.register_module()
class DoubleBank(HashNamesBank):
    """In double precision."""

    @staticmethod
    def vector(word: str) -> Tensor:
        return HashBank.vector(word).double()


@MODELS.register_module()
class AddBest(nn.Module):
    """A refinement in which words meet."""

    def forward(self, logits_BKhw: Tensor) -> Tensor:
        best_B1hw = logits_BKhw.amax(dim=1, keepdim=True)
        return logits_BKhw * (best_B1hw > best_B1hw.mean()) + best_B1hw


@MODELS.register_module()
class Stages(nn.Module):
    """Maps at strides 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 4, stride=4), nn.Conv2d(6, 10, 2, stride=2)

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        first_BChw = self.first(images_B3HW[..., : images_B3HW.shape[-2] // 8 * 8, : images_B3HW.shape[-1] // 8 * 8])
        return [first_BChw, self.second(first_BChw)]


def pixel_segmentor(head: dict, backbone: dict | None = None, kind: str = 'OVEncoderDecoder') -> nn.Module:
    torch.manual_seed(0)
    preprocessor = dict(type='mmseg.SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3)
    bank, backbone = dict(type='vlm_dense.DoubleBank'), backbone or tiny_backbone()
    parts = dict(data_preprocessor=preprocessor, backbone=backbone, decode_head=head, text_bank=bank)
    return MODELS.build(dict(type=f'vlm_dense.{kind}', **parts)).eval().double()


def dense_segmentor(**head: object) -> nn.Module:
    model = segmentor(**head).double()
    model.text_bank = DoubleBank()
    return model


def gated_segmentor() -> nn.Module:
    classifier = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM, temperature=0.07, background=None)
    shape = dict(in_channels=(6, 10), channels=8, embed_dim=EMBED_DIM, shrink=2, gate=True)
    head = dict(type='vlm_dense.PyramidPixelHead', classifier=classifier, **shape)
    return pixel_segmentor(head, dict(type='vlm_dense.Stages'))


def column_segmentor() -> nn.Module:
    """Its background is about where words 2, 5 and 11 are."""
    model = pixel_segmentor(tiny_head('learned'))
    near_3D = torch.stack([DoubleBank.vector(WORDS[word]) for word in (2, 5, 11)])
    model.decode_head.classifier.extra.learned_ED.data[0] = near_3D.sum(dim=0)
    return model


def film_segmentor(threshold: float | None) -> nn.Module:
    shape = dict(in_channels=16, embed_dim=EMBED_DIM, taps=4, channels=8, feedforward=16)
    head = dict(type='vlm_dense.FilmPixelHead', threshold=threshold, pairs_at_once=9, **shape)
    return pixel_segmentor(head, kind='WordQuerySegmentor')


def resize(maps_BSHW: Tensor, size: tuple[int, int], model: nn.Module) -> Tensor:
    align = model.decode_head.align_corners
    return functional.interpolate(maps_BSHW, size, mode='bilinear', align_corners=align)


def window_logits(model: nn.Module, inputs: Tensor, text_SD: Tensor) -> Tensor:
    """(B, S, H, W) of all rows, with the background's where the head has one."""
    head, size, features = model.decode_head, tuple(inputs.shape[-2:]), model.extract_feat(inputs)
    if not hasattr(head, 'classifier'):
        return resize(head(features, text_SD), size, model)
    pixels = head.embed(features)
    logits_BSHW = head.classifier(pixels.dense_BDhw, text_SD)
    logits_BSHW = logits_BSHW if head.refine is None else head.refine(logits_BSHW)
    logits_BSHW = resize(logits_BSHW, tuple(head.upsample * side for side in logits_BSHW.shape[-2:]), model)
    if pixels.gate_B1hw is None:
        return resize(logits_BSHW, size, model)
    logits_BSHW = resize(resize(logits_BSHW, tuple(pixels.gate_B1hw.shape[-2:]), model), size, model)
    gate_B1HW = resize(pixels.gate_B1hw, size, model)
    return torch.cat([logits_BSHW, gate_B1HW + logits_BSHW.amax(dim=1, keepdim=True)], dim=1)


def all_logits(model: nn.Module, inputs: Tensor, vocabulary: Vocabulary, flips: list[list[int]]) -> list[Tensor]:
    text_SD = model.decode_head.rows(model.text_bank, vocabulary)
    if (model.test_cfg or {}).get('mode') != 'slide':
        total = window_logits(model, inputs, text_SD)
    else:
        places = list(windows(SIZE, SLIDE['crop_size'], SLIDE['stride']))
        found = [window_logits(model, inputs[..., rows, columns], text_SD) for rows, columns in places]
        total, count = torch.zeros_like(resize(found[0], SIZE, model)), torch.zeros(SIZE)
        for (rows, columns), logits in zip(places, found, strict=True):
            total[..., rows, columns] += logits
            count[rows, columns] += 1
        total = total / count
    return [resize(one.flip(flip)[None], ORIGINAL, model)[0] for one, flip in zip(total, flips, strict=True)]


def plain_labels(model: nn.Module, logits_SHW: Tensor, vocabulary: Vocabulary) -> Tensor:
    return logits_SHW.argmax(dim=0)


def dense_labels(model: nn.Module, logits_SHW: Tensor, vocabulary: Vocabulary) -> Tensor:
    """From the definitions, in double precision."""
    head, words = model.decode_head, len(vocabulary)
    scores_SHW = logits_SHW if head.smooth is not None else logits_SHW.softmax(dim=0)
    names = [len(vocabulary.names(row)) if head.synonyms == 'max' else 1 for row in range(words)]
    groups = scores_SHW.split([*names, len(scores_SHW) - sum(names)])
    score_KHW = torch.stack([group.amax(dim=0) for group in groups[:-1]])
    if not head.has_background:
        return score_KHW.argmax(dim=0)
    other_HW = groups[-1].amax(dim=0) if len(groups[-1]) else torch.zeros(ORIGINAL, dtype=torch.double)
    if head.area_threshold is not None:
        winner_HW = torch.cat([score_KHW, other_HW[None]]).argmax(dim=0)
        for word in range(words):
            won, any_word = (winner_HW == word).sum(), (winner_HW < words).sum()
            score_KHW[word] *= float(won > head.area_threshold * any_word)
    other_HW = other_HW.clamp(min=head.prob_threshold or 0)
    return torch.cat([score_KHW, other_HW[None]]).argmax(dim=0)


CASES: dict[str, Callable[[], nn.Module]] = {
    'words': lambda: pixel_segmentor(tiny_head()),
    'column': column_segmentor,
    'refined': lambda: pixel_segmentor(tiny_head(refine=dict(type='vlm_dense.AddBest'))),
    'gate': gated_segmentor,
    'film': lambda: film_segmentor(None),
    'film-threshold': lambda: film_segmentor(0.5),
    'dense': dense_segmentor,
    'dense-names': lambda: dense_segmentor(synonyms='max'),
    'dense-background': lambda: dense_segmentor(background_words=BACKGROUND),
    'dense-threshold': lambda: dense_segmentor(prob_threshold=0.075),
    'dense-all': lambda: dense_segmentor(
        synonyms='max', background_words=BACKGROUND, prob_threshold=0.06, area_threshold=0.04
    ),
    'dense-area': lambda: dense_segmentor(background_words=BACKGROUND, area_threshold=0.04, denoise=0.06),
    'dense-smooth': lambda: dense_segmentor(
        smooth=1.0, smooth_weights='mean', background_words=BACKGROUND, prob_threshold=0.035, area_threshold=0.1
    ),
    'dense-smooth-cosine': lambda: dense_segmentor(smooth=1.0, background_words=BACKGROUND, area_threshold=0.1),
}


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_every_number_of_words_at_once_gives_the_labels_of_all_at_once(case: str, mode: str) -> None:
    model, inputs = CASES[case](), images(3, *SIZE).double()
    vocabulary = Vocabulary.from_words(WORDS, synonyms=SYNONYMS)
    model.test_cfg = dict(SLIDE) if mode == 'slide' else dict(mode='whole')
    reference = dense_labels if case.startswith('dense') else plain_labels
    logits = all_logits(model, inputs, vocabulary, [[], [-1], [-2]])
    expected = [reference(model, one, vocabulary) for one in logits]
    present = torch.stack(expected).unique()
    assert len(present) >= 4
    if case not in ('words', 'refined', 'film', 'dense', 'dense-names'):
        assert len(WORDS) in present
    for at_once in CHUNKS:
        model.test_cfg['words_at_once'] = at_once
        asked = samples(WORDS, torch.zeros(3, *ORIGINAL, dtype=torch.long))
        for sample, direction in zip(asked, (None, 'horizontal', 'vertical'), strict=True):
            sample.set_metainfo(dict(vocabulary=vocabulary, flip=direction is not None, flip_direction=direction))
        for found, label_HW in zip(model.predict(inputs, asked), expected, strict=True):
            assert 'seg_logits' not in found
            assert torch.equal(found.pred_sem_seg.data[0], label_HW), at_once


@pytest.mark.parametrize('rows_at_once', CHUNKS)
def test_the_first_of_equal_words_wins(rows_at_once: int | None) -> None:
    head = dense_segmentor().decode_head
    few_B8hw = torch.randn(1, 8, 5, 7)
    maps = GridMaps(few_B8hw.repeat(1, 5, 1, 1), head.resize)
    window = Window(slice(0, SIZE[0]), slice(0, SIZE[1]), maps)
    view = View(SIZE, (), [window])
    parts = PictureMaps([view], 0, dict(ori_shape=ORIGINAL), head.resize, rows_at_once)
    full_8HW = head.resize(head.resize(few_B8hw, SIZE), ORIGINAL)[0]
    assert torch.equal(head.labels(parts, Vocabulary.from_words(WORDS)), full_8HW.argmax(dim=0))


def test_no_number_of_words_is_refused() -> None:
    model = dense_segmentor()
    model.test_cfg = dict(mode='whole', words_at_once=0)
    with pytest.raises(ConfigError, match='words_at_once=0'):
        model.predict(images(1).double(), samples(WORDS, torch.zeros(1, 64, 64, dtype=torch.long)))


@pytest.mark.parametrize('rows', [1, 3, 4, 8, 13])
@pytest.mark.parametrize('size', [(40, 50), (90, 131)])
def test_a_map_is_resized_to_the_same_bits_in_any_company(rows: int, size: tuple[int, int]) -> None:
    maps_140hw = torch.randn(1, 40, 9, 13)
    head = dense_segmentor().decode_head
    found = [resize_rows(head.resize, part, size) for part in maps_140hw.split(rows, dim=1)]
    assert torch.equal(torch.cat(found, dim=1), head.resize(maps_140hw, size))
