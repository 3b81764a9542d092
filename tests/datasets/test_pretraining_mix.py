"""Names and captions in one training loader, as a config writes it: both kinds of prompts, and the same ones again."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from vlm_dense.engine.config_check import check_config
from vlm_dense.errors import ConfigError
from vlm_dense.text.prompt_packing import Prompt


def loader_config(root: Path, workers: int) -> dict:
    words = json.loads((root / 'vocabulary.json').read_text(encoding='utf-8'))['words']
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_path',)),
    ]
    names = dict(type='vlm_dense.DetectionAsGrounding', vocabulary=words, max_negatives=5)
    captions = dict(type='vlm_dense.DetectionAsGrounding', max_negatives=5)
    place = dict(data_root=str(root), data_prefix=dict(img=''))
    return dict(
        batch_size=2,
        num_workers=workers,
        dataset=dict(
            type='ConcatDataset',
            datasets=[
                dict(
                    type='vlm_dense.VocabularyCocoDataset',
                    ann_file='train.json',
                    vocabulary=words,
                    pipeline=[*pipeline, names],
                    **place,
                ),
                dict(
                    type='vlm_dense.GroundingDataset',
                    ann_file='train_odvg.jsonl',
                    pipeline=[*pipeline, captions],
                    **place,
                ),
            ],
        ),
        sampler=dict(type='vlm_dense.WeightedMix', weights=[1, 1]),
        collate_fn=dict(type='pseudo_collate'),
    )


def seen(root: Path, workers: int, skip: int = 0) -> list[tuple]:
    np.random.seed(7)
    with DefaultScope.overwrite_default_scope('mmdet'):
        loader = Runner.build_dataloader(loader_config(root, workers), seed=7)
        samples = [one for batch in islice(loader, skip, 8) for one in batch['data_samples']]
    return [
        (one.img_path, one.vocabulary.words, one.get('prompt'), one.gt_instances.labels.tolist()) for one in samples
    ]


@pytest.mark.parametrize('workers', [0, 2])
def test_both_kinds_come_and_come_again(picture_set, workers):
    samples = seen(picture_set, workers)
    truth = {
        line['filename']: [region['phrase'] for region in line['grounding']['regions']]
        for line in map(json.loads, (picture_set / 'train_odvg.jsonl').read_text(encoding='utf-8').splitlines())
    }
    kinds = set()
    for path, words, prompt, labels in samples:
        assert [words[label] for label in labels] == truth[str(Path(path).relative_to(picture_set))]
        kinds.add(type(prompt))
        if prompt is not None:
            places = [prompt.text[start:end] for ((start, end),) in prompt.spans]
            assert places == list(words)
    assert kinds == {Prompt, type(None)}
    assert seen(picture_set, workers) == samples
    assert seen(picture_set, workers, skip=5) == samples[10:]


def test_the_config_check_knows_all_of_it(picture_set):
    config = dict(default_scope='mmdet', train_dataloader=loader_config(picture_set, 0))
    check_config(Config(config))
    config['train_dataloader']['dataset']['datasets'][1]['pipeline'][-1]['max_negative'] = 3
    with pytest.raises(ConfigError, match='max_negatives'):
        check_config(Config(config))
