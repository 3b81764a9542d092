"""The head without parameters: scores, names, background and windows against numpy."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from segmentation_parts import EMBED_DIM, HashBank, images, keep_scores, samples
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.segmentors.ov_encoder_decoder import windows
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

SCALE = 7.0
WORDS = ['cat', 'dog', 'tree', 'sky']
NAMES = {'cat': ('kitten', 'puss'), 'tree': ('oak',)}
STUFF = ('wall', 'Sky', 'kitten')


@MODELS.register_module()
class PatchTower(ImageTower):
    """Cells of 8 pixels, with keys."""

    embed_dim = EMBED_DIM

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, EMBED_DIM, 8, stride=8)
        self.key = nn.Conv2d(3, 5, 8, stride=8)

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        return functional.normalize(self.cells(images_B3HW), dim=1)

    def embed_dense_and_keys(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        return self.embed_dense(images_B3HW), self.key(images_B3HW)


@MODELS.register_module()
class HashNamesBank(HashBank):
    """A `HashBank` that knows the names of words."""

    def rows_of_names(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        names = [(name, row) for row in range(len(vocabulary)) for name in vocabulary.names(row)]
        return torch.stack([self.vector(name) for name, _ in names]), torch.tensor([row for _, row in names])


def segmentor(keys: bool = False, test_cfg: dict | None = None, **head: object) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='vlm_dense.OVEncoderDecoder',
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3),
            backbone=dict(type='vlm_dense.DenseBackbone', tower=dict(type='vlm_dense.PatchTower'), keys=keys),
            decode_head=dict(type='vlm_dense.DenseMapHead', logit_scale=SCALE, **head),
            text_bank=dict(type='vlm_dense.HashNamesBank'),
            test_cfg=test_cfg,
        )
    ).eval()


def ask(model: nn.Module, words: Sequence[str], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and labels of the first picture."""
    asked = samples(words, torch.zeros(len(inputs), *inputs.shape[-2:], dtype=torch.long))
    for sample in asked:
        names = [NAMES.get(word, ()) for word in words]
        sample.set_metainfo(dict(vocabulary=Vocabulary.from_words(words, synonyms=names)))
    keep_scores(model)
    found = model.predict(inputs, asked)[0]
    return found.seg_logits.data, found.pred_sem_seg.data[0]


def cosines(model: nn.Module, inputs: Tensor, names: Sequence[str]) -> Tensor:
    """(S, h, w) by numpy."""
    weight, bias = (p.detach().double().numpy() for p in model.backbone.tower.cells.parameters())
    height, width = (side // 8 for side in inputs.shape[-2:])
    patches = inputs[0, :, : 8 * height, : 8 * width].double().numpy().reshape(3, height, 8, width, 8)
    dense = np.einsum('chywx,dcyx->dhw', patches, weight) + bias[:, None, None]
    dense /= np.linalg.norm(dense, axis=0)
    rows = np.stack([HashBank.vector(name).double().numpy() for name in names])
    return torch.from_numpy(np.einsum('dhw,sd->shw', dense, rows))


def enlarge(map_Shw: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(map_Shw[None], tuple(size), mode='bilinear')[0]


@pytest.mark.parametrize('size', [(64, 64), (41, 99)])
@pytest.mark.parametrize('words', [WORDS, WORDS[:1]])
def test_scores_equal_numpy(size: tuple[int, int], words: list[str]) -> None:
    model, inputs = segmentor(), images(2, *size)
    scores, labels = ask(model, words, inputs)
    expected = (SCALE * enlarge(cosines(model, inputs, words), size)).softmax(dim=0)
    torch.testing.assert_close(scores.double(), expected, atol=1e-5, rtol=0)
    assert torch.equal(labels, scores.argmax(dim=0))


def test_a_word_scores_as_its_best_name() -> None:
    model, inputs = segmentor(synonyms='max'), images()
    scores, _ = ask(model, WORDS, inputs)
    names = ['cat', 'kitten', 'puss', 'dog', 'tree', 'oak', 'sky']
    prob = (SCALE * enlarge(cosines(model, inputs, names), (64, 64))).softmax(dim=0)
    expected = torch.stack([prob[:3].amax(dim=0), prob[3], prob[4:6].amax(dim=0), prob[6]])
    torch.testing.assert_close(scores.double(), expected, atol=1e-5, rtol=0)


def test_background_is_the_union_of_words_that_nobody_asked_for_and_what_is_below_the_threshold() -> None:
    model = segmentor(background_words=(*STUFF, 'road'), prob_threshold=0.3)
    inputs = images()
    scores, labels = ask(model, WORDS, inputs)
    # 'Sky' is asked for, and 'kitten' is a name of a word that is.
    prob = (SCALE * enlarge(cosines(model, inputs, [*WORDS, 'wall', 'road']), (64, 64))).softmax(dim=0)
    torch.testing.assert_close(scores[:4].double(), prob[:4], atol=1e-5, rtol=0)
    best, word = prob[:4].max(dim=0)
    is_background = (best < 0.3) | (prob[4:].amax(dim=0) > best)
    assert 0 < int((best < 0.3).sum()) < int(is_background.sum()) < labels.numel()
    assert torch.equal(labels, torch.where(is_background, 4, word))


def test_area_threshold_gives_small_words_to_the_next_best() -> None:
    inputs = images()
    free, labels = ask(segmentor(prob_threshold=0.01), WORDS, inputs)
    area = torch.bincount(labels.flatten(), minlength=5)
    share = float(area[:4].sort().values[1]) / labels.numel()
    _, found = ask(segmentor(prob_threshold=0.01, area_threshold=share), WORDS, inputs)
    kept = area[:4] > share * labels.numel()
    assert int(kept.sum()) == 2
    assert torch.equal(found, torch.where(kept[:, None, None], free[:4], 0).argmax(dim=0))


def test_windows_are_averaged_before_the_softmax() -> None:
    model = segmentor(test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 24)))
    inputs = images(1, 50, 70)
    scores, _ = ask(model, WORDS, inputs)
    total, count = torch.zeros(4, 50, 70, dtype=torch.double), torch.zeros(50, 70)
    for rows, columns in windows((50, 70), (32, 32), (16, 24)):
        total[:, rows, columns] += SCALE * enlarge(cosines(model, inputs[..., rows, columns], WORDS), (32, 32))
        count[rows, columns] += 1
    torch.testing.assert_close(scores.double(), (total / count).softmax(dim=0), atol=1e-5, rtol=0)


@pytest.mark.parametrize('keys', [False, True])
def test_smoothing_takes_the_keys_or_else_the_map_itself(keys: bool) -> None:
    model, inputs = segmentor(keys, smooth=1.0, denoise=0.1), images(1, 41, 99)
    scores, labels = ask(model, WORDS, inputs)
    tower = model.backbone.tower
    prob = (SCALE * cosines(model, inputs, WORDS)).softmax(dim=0).flatten(1)
    assert (prob.amax(dim=1) > 0.1).all()
    key_map = tower.key(inputs) if keys else tower.embed_dense(inputs)
    unit = functional.normalize(key_map[0].flatten(1).double(), dim=0)
    smooth = (prob @ (unit.T @ unit)).unflatten(1, (5, 12))
    torch.testing.assert_close(scores.double(), enlarge(smooth, (41, 99)), atol=1e-4, rtol=0)
    assert torch.equal(labels, scores.argmax(dim=0))


def test_order_of_words_and_background_words_changes_indices_only() -> None:
    head = dict(background_words=('wall', 'road'), prob_threshold=0.2, area_threshold=0.1, synonyms='max', denoise=0.6)
    model, inputs = segmentor(**head), images(1, 41, 99)
    scores, labels = ask(model, WORDS, inputs)
    order = [2, 0, 3, 1]
    others, found = ask(model, [WORDS[row] for row in order], inputs)
    torch.testing.assert_close(others[:4], scores[order], atol=1e-6, rtol=0)
    assert torch.equal(torch.tensor([*order, 4])[found], labels)


def test_nothing_is_trained() -> None:
    model = segmentor()
    assert not list(model.decode_head.parameters())
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(module.training for module in model.train().backbone.tower.modules())
    with pytest.raises(ConfigError, match='no parameter to train'):
        model.loss(images(), samples(WORDS, torch.zeros(2, 64, 64, dtype=torch.long)))
    assert model(images(), mode='tensor').shape == (2, EMBED_DIM, 8, 8)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match='area_threshold needs a background'):
        segmentor(area_threshold=0.1)
    with pytest.raises(ConfigError, match=r"keys_over='rows'; choose 'channels' or 'cells'"):
        segmentor(keys_over='rows')
    model = segmentor(synonyms='max')
    model.text_bank = HashBank()
    with pytest.raises(ConfigError, match='HashBank has no rows of names'):
        ask(model, WORDS, images())
    with pytest.raises(ConfigError, match='12 channels and words 3'):
        model.decode_head((torch.zeros(1, 12, 2, 2),), torch.zeros(4, 3))
