"""ZegFormer's recipes, shrunk: the paper's formulas in numpy, and what training sees."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from named_masks import RolledBank, asked, assert_same, labels_of, own_logits, score_maps, softmax, tiny_model
from PIL import Image
from recipe_maps import write_ade20k_847_data, write_coco_stuff_data, write_voc_data
from recipes import CONFIGS, ROOT, tiny_recipe

from vlm_dense.engine.settings import read_config
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ('person', 'cow', 'sky-other', 'river', 'traffic cone', 'car')
SEEN = ('person', 'sky-other', 'car')
README = (ROOT / 'projects' / 'zegformer' / 'README.md').read_text(encoding='utf-8')


def zegformer(parts, seen_weight: float, unseen_weight: float) -> np.ndarray:
    """Scores (N, K): the geometric mean of both branches, weights of the region branch given."""
    own_NK1 = own_logits(parts, parts.void_D)  # the void's row has its own length
    a_NK = softmax(own_NK1)[:, :-1]
    c_NK = softmax(np.hstack([100 * parts.region_ND @ parts.words_KD.T, own_NK1[:, -1:]]))[:, :-1]
    c_NK[:, parts.is_base_K] = c_NK[:, parts.is_base_K].mean(1, keepdims=True)
    weight_K = np.where(parts.is_base_K, seen_weight, unseen_weight)
    return a_NK ** (1 - weight_K) * c_NK**weight_K


@pytest.mark.parametrize('words', [WORDS, ('cat', *WORDS[::-1])])
def test_the_papers_formulas(words: tuple[str, ...], tmp_path: Path) -> None:
    _, model = tiny_model('zegformer_r101_cocostuff.py', tmp_path)
    model.__dict__['region_bank'] = RolledBank()
    answer, parts = asked(model, words, SEEN)
    map_KHW = score_maps(zegformer(parts, 1 / 3, 2 / 3), parts.mask_NHW)
    map_KHW[parts.is_base_K] -= 0.1
    assert_same(answer, map_KHW)
    assert len(labels_of(answer)) > 1
    assert not np.allclose(np.linalg.norm(parts.void_D), 1, atol=0.1)


def test_other_data_sets_have_one_weight_and_no_penalty(tmp_path: Path) -> None:
    option = '--cfg-options model.fusion.base_power=0.6667 model.test_cfg.seen_penalty=0'
    assert option in README
    _, model = tiny_model('zegformer_r101_cocostuff.py', tmp_path)
    settings = dict(pair.split('=') for pair in option.split()[1:])
    model.fusion.base_power = float(settings['model.fusion.base_power'])
    model.test_cfg['seen_penalty'] = float(settings['model.test_cfg.seen_penalty'])
    answer, parts = asked(model, WORDS, SEEN)
    assert_same(answer, score_maps(zegformer(parts, 0.6667, 2 / 3), parts.mask_NHW))


def test_one_template_in_the_published_test() -> None:
    assert '--cfg-options model.text_bank.prompt=zegformer' in README
    trained = read_config(str(CONFIGS / 'zegformer_r101_cocostuff.py'))
    tested = read_config(str(CONFIGS / 'zegformer_r101_cocostuff.py'), {'model.text_bank.prompt': 'zegformer'})
    assert [config.model.text_bank.prompt for config in (trained, tested)] == ['zegformer_8', 'zegformer']
    assert trained.model.region_bank == tested.model.region_bank


def losses(config: Config, labels: Path, values: dict[int, int]) -> dict[str, torch.Tensor]:
    """Losses of the first batch with numbers of the label maps exchanged, everything else alike."""
    kept = {path: path.read_bytes() for path in labels.iterdir()}
    try:
        for path in kept:
            map_HW = np.asarray(Image.open(path)).copy()
            map_HW[:30, :30], map_HW[40:70, 20:60] = 1, 2  # seen, in either data set
            for corner, value in enumerate(values):
                map_HW[75 + 12 * corner : 85 + 12 * corner, 30:90] = values[value]
            Image.fromarray(map_HW).save(path)
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)
        model = MODELS.build(config.model)
        model.init_weights()
        model.train()
        train_set = DATASETS.build(config.train_dataloader.dataset)
        batch = model.data_preprocessor(pseudo_collate([train_set[0], train_set[1]]), True)
        return model(**batch, mode='loss')
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def numbers_of(config: Config, seen: bool) -> tuple[int, int]:
    """The last two words of one kind, as ADE20K's maps count them."""
    vocabulary = Vocabulary.build(config.val_dataloader.dataset.vocabulary)
    numbers = [number for number, is_base in enumerate(vocabulary.is_base) if is_base == seen]
    return numbers[-2], numbers[-1]


# The numbers of two unseen words and of two seen ones on disk.
SPLITS = [
    ('zegformer_r101_cocostuff.py', 'coco_stuff164k/annotations/train2017', (19, 23), (3, 5)),
    ('zegformer_r101_voc.py', 'VOCdevkit/VOC2012/SegmentationClassAug', (16, 20), (3, 5)),
    ('zegformer_r101_ade847.py', 'ade/ADE20K_2021_17_01/annotations_detectron2/training', None, None),
    ('zsseg_r101c_cocostuff.py', 'coco_stuff164k/annotations/train2017', (160, 94), (3, 5)),
]


@pytest.mark.parametrize(('name', 'folder', 'unseen', 'seen'), SPLITS)
def test_no_unseen_label_reaches_a_loss(
    name: str, folder: str, unseen: tuple[int, int] | None, seen: tuple[int, int] | None, tmp_path: Path
) -> None:
    for write in (write_coco_stuff_data, write_voc_data, write_ade20k_847_data):
        write(tmp_path)
    config = tiny_recipe(name, tmp_path)
    unseen, seen = unseen or numbers_of(config, seen=False), seen or numbers_of(config, seen=True)
    for step in config.train_dataloader.dataset.pipeline:
        if step.type == 'RandomCrop':
            step.crop_size = (160, 160)  # all of the picture
    config.model.data_preprocessor.size = (160, 160)
    labels = tmp_path / 'data' / folder
    before = losses(config, labels, dict(zip(unseen, unseen, strict=True)))
    after = losses(config, labels, dict(zip(unseen, unseen[::-1], strict=True)))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    # Of two seen words it is another matter.
    first = losses(config, labels, dict(zip(seen, seen, strict=True)))
    second = losses(config, labels, dict(zip(seen, seen[::-1], strict=True)))
    assert not torch.equal(first['decode.loss_cls'], second['decode.loss_cls'])
