"""What --protocol makes of a config."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from vlm_dense.engine.protocol_runs import set_protocol
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.evaluation.protocols import PROTOCOLS, find_protocol

PACK = dict(boxes='PackDetInputs', pixels='PackSegInputs')


def recipe(kind: str, words: object = ('cat', 'Wall', 'ghost'), base: object = ('Wall', 'ghost')) -> Config:
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(640, 640)),
        dict(type='LoadAnnotations'),
        dict(type=PACK[kind]),
        dict(type='vlm_dense.AttachVocabulary', vocabulary=dict(words=list(words), base=list(base))),
    ]
    return Config(dict(test_dataloader=dict(batch_size=3, dataset=dict(type='Own', pipeline=pipeline))))


def part_of(cfg: Config) -> dict:
    (part,) = cfg.test_cfg.parts
    return part


def test_the_recipe_keeps_its_treatment_of_pictures() -> None:
    cfg = recipe('pixels')
    set_protocol(cfg, find_protocol('ade20k_150'), out='there', root='/sets')
    part = part_of(cfg)
    steps = [step['type'] for step in part['dataset']['pipeline']]
    assert steps == ['LoadImageFromFile', 'Resize', 'PackSegInputs', 'vlm_dense.AttachVocabulary']
    assert part['dataset']['data_root'] == '/sets/ade/ADEChallengeData2016'
    assert cfg.test_dataloader.batch_size == 3
    assert cfg.test_dataloader.dataset.type == 'vlm_dense.VocabularySegDataset'
    assert cfg.test_cfg.out == 'there'


def test_words_the_recipe_calls_base_stay_base() -> None:
    cfg = recipe('pixels')
    set_protocol(cfg, find_protocol('ade20k_150'), out='there')
    asked = part_of(cfg)['words']
    assert len(asked['words']) == 150
    assert asked['base'] == ['wall']


def test_one_name_in_common_is_enough_where_a_model_compares_names() -> None:
    cfg = recipe('boxes', words=('panel', 'Wall', 'sky'), base=('panel', 'Wall'))
    words = cfg.test_dataloader.dataset.pipeline[-1].vocabulary
    words.synonyms = [['picture', 'Rug'], [], []]
    cfg.model = dict(type='vlm_dense.OVMaskDetector', synonyms='max', test_cfg=dict(panoptic_on=True))
    set_protocol(cfg, find_protocol('ade20k_panoptic'), out='there')
    # Also called 'picture'; 'rug' and 'wall' are spelled otherwise.
    assert part_of(cfg)['words']['base'] == ['painting']


@pytest.mark.parametrize(
    ('protocol', 'task'),
    [
        ('ade20k_panoptic', 'panoptic'),
        ('ade20k_instance', 'instance'),
        ('ade20k_150', 'semantic'),
        ('coco', 'instance'),
    ],
)
def test_masks_answer_every_kind_and_make_what_is_measured(protocol: str, task: str) -> None:
    cfg = recipe('boxes')
    cfg.model = dict(type='vlm_dense.OVMaskDetector', test_cfg=dict(panoptic_on=True, instance_on=True, iou_thr=0.8))
    set_protocol(cfg, find_protocol(protocol), out='there')
    tasks = {f'{one}_on': one == task for one in ('panoptic', 'instance', 'semantic')}
    assert cfg.model.test_cfg == dict(iou_thr=0.8, **tasks)


def test_a_split_of_the_protocol_decides_what_is_base() -> None:
    cfg = recipe('boxes')
    set_protocol(cfg, find_protocol('ov_coco'), out='there')
    asked = part_of(cfg)['words']
    assert (len(asked['words']), len(asked['base'])) == (65, 48)


def test_other_words_are_asked_and_the_protocol_scores_its_own(tmp_path: Path) -> None:
    (tmp_path / 'mine.json').write_text(json.dumps(['tree', 'wall', 'wombat']))
    cfg = recipe('pixels')
    set_protocol(cfg, find_protocol('ade20k_150'), out='there', words=str(tmp_path / 'mine.json'))
    part = part_of(cfg)
    assert part['words']['words'] == ['tree', 'wall', 'wombat']
    assert part['words']['base'] == ['wall']
    assert part['dataset']['pipeline'][-1]['vocabulary']['words'] == ['tree', 'wall', 'wombat']
    assert part['metric']['words'] == part['dataset']['vocabulary'] != part['words']


def test_a_recipe_that_asks_for_phrases_has_no_base_words() -> None:
    cfg = recipe('boxes')
    cfg.test_dataloader.dataset.pipeline[-1].pop('vocabulary')
    set_protocol(cfg, find_protocol('coco'), out='there')
    assert (len(part_of(cfg)['words']['words']), part_of(cfg)['words']['base']) == (80, [])


def test_wrapped_test_data_are_one_sentence() -> None:
    cfg = recipe('boxes')
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.test_dataloader.dataset])
    with pytest.raises(ConfigError, match='has no pipeline of its own; use a recipe that tests one data set'):
        set_protocol(cfg, find_protocol('coco'), out='there')


def test_the_wrong_kind_is_one_sentence_with_the_right_ones() -> None:
    with pytest.raises(ConfigError, match=r'measures boxes, but .* finds pixels; choose one of .*ade20k_150'):
        set_protocol(recipe('pixels'), find_protocol('coco'), out='there')


def test_words_that_are_not_there_are_named(tmp_path: Path) -> None:
    cfg = recipe('boxes')
    cfg.test_dataloader.dataset.pipeline[-1].vocabulary = dict(file=str(tmp_path / 'lvis.json'))
    with pytest.raises(
        MissingFileError, match=r'whose base words stay base, needs words that are not there: .*lvis\.json'
    ):
        set_protocol(cfg, find_protocol('coco'), out='there')


def test_an_unknown_protocol_is_one_sentence_with_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ov_coco'"):
        find_protocol('ovcoco')


@pytest.mark.parametrize('name', list(PROTOCOLS))
def test_every_protocol_is_described(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert all([protocol.title, protocol.split, protocol.cap, protocol.source, protocol.data, protocol.headline])
    names = [part.name for part in protocol.parts]
    assert len(set(names)) == len(names)
    assert len(names) == 1 or all(names)
    assert '{root}' not in str([part.below('data') for part in protocol.parts])
