"""tools/pseudo_grounding.py: what is kept, killed and shared runs, captions of every form."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import killed, shared_by_two
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import DefaultScope
from recipe_data import tool_module
from tiny_runs import DETECTOR, NUM_PICTURES, SIZE, write_config, write_pictures

from vlm_dense.apis import Finder
from vlm_dense.datasets import GroundingDataset
from vlm_dense.datasets.annotation_checks import CheckOptions, check_annotations
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.text.encoders.base import check_token_counts

CAPTIONS = ('a red box and a blue box', 'a green box beside a red box', 'is it?')


@pytest.fixture
def tool():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield tool_module('pseudo_grounding')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('VLM_DENSE_CACHE', str(tmp_path / 'cache'))
    write_pictures(tmp_path)
    write_config(tmp_path, 'run', DETECTOR + "custom_imports = dict(imports=['vlm_dense.registry'])\n")
    lines = [dict(filename=f'{n}.png', caption=CAPTIONS[n % 3]) for n in range(NUM_PICTURES)]
    (tmp_path / 'captions.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return tmp_path


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    """Random weights, kept: every process has the same."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        finder = Finder(folder / 'run.py')
    torch.save(finder.model.state_dict(), folder / 'weights.pth')
    return folder / 'weights.pth'


def command(
    folder: Path, *more: str, out: str = 'out.jsonl', captions: tuple = ('--captions', 'captions.jsonl')
) -> list:
    option, *values = captions
    values = [str(folder / value) if option == '--captions' else value for value in values]
    score = [] if '--score' in more else ['--score', '0.4']
    places = ['--pictures', str(folder / 'images'), '--out', str(folder / out), '--save-every', '2']
    return [str(folder / 'run.py'), str(folder / 'weights.pth'), option, *values, *places, *score, *more]


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_boxes_above_the_score_are_lines_that_can_be_trained_on(tool, folder, checkpoint, capsys):
    tool.main(command(folder))
    lines = read(folder / 'out.jsonl')
    assert len(lines) == 6
    assert 'of 9 captions 6 with boxes, 0 without a box above the score, 3 without a noun phrase, 0 whose' in (
        capsys.readouterr().out
    )
    assert len(check_annotations(folder / 'out.jsonl', CheckOptions(pictures=folder / 'images'))) == 0
    with DefaultScope.overwrite_default_scope('mmdet'):
        finder = Finder(folder / 'run.py', checkpoint)
    for line in lines:
        caption = line['grounding']['caption']
        words = ['red box', 'blue box'] if caption == CAPTIONS[0] else ['green box', 'red box']
        found = finder.detect(folder / 'images' / line['filename'], words)
        kept = found.scores_N > 0.4
        regions = line['grounding']['regions']
        assert [region['phrase'] for region in regions] == [w for w, k in zip(found.words, kept, strict=True) if k]
        np.testing.assert_allclose([region['bbox'] for region in regions], found.boxes_N4[kept], atol=0.006)
        for region in regions:
            assert [caption[start:end] for start, end in region['tokens_positive']] == [region['phrase']]
    data = GroundingDataset(data_root=str(folder), ann_file='out.jsonl', data_prefix=dict(img='images'))
    assert len(data.get_data_info(0)['instances']) == len(lines[0]['grounding']['regions'])


def test_a_score_that_nothing_reaches_is_said(tool, folder, checkpoint, capsys):
    tool.main(command(folder, '--score', '1.0'))
    assert read(folder / 'out.jsonl') == []
    assert '0 with boxes, 6 without a box above the score' in capsys.readouterr().out


def test_killed_and_shared_runs_end_with_the_same_file(tool, folder, checkpoint, monkeypatch, capsys):
    tool.main(command(folder, out='whole.jsonl'))
    calls = killed(lambda: tool.main(command(folder)), tool, 'label', monkeypatch)
    assert not (folder / 'out.jsonl').exists()
    assert len(list((folder / 'out.jsonl.parts').glob('0*.json'))) == 2
    shared_by_two(lambda: tool.main(command(folder)), monkeypatch)
    # Five before, of which the two parts that were whole are kept: 9 captions, the fifth twice.
    assert len(calls) == 5 + 5
    assert 'process 2 of 2 is done; 2 of 5 parts are left' in capsys.readouterr().out
    assert (folder / 'out.jsonl').read_bytes() == (folder / 'whole.jsonl').read_bytes()


def test_parts_of_other_settings_are_not_mixed(tool, folder, checkpoint):
    tool.main(command(folder))
    with pytest.raises(ConfigError, match=r'parts made with other score; delete it or change --out'):
        tool.main(command(folder, '--score', '0.9'))
    before = (folder / 'out.jsonl').read_bytes()
    tool.main(command(folder))
    assert (folder / 'out.jsonl').read_bytes() == before
    shutil.rmtree(folder / 'out.jsonl.parts')
    with pytest.raises(ConfigError, match=r'out\.jsonl exists already'):
        tool.main(command(folder))


def test_cocos_captions_and_shards_give_the_same_boxes(tool, folder, checkpoint):
    tool.main(command(folder))
    expected = [line['grounding'] for line in read(folder / 'out.jsonl')]
    images = [dict(id=n, file_name=f'{n}.png') for n in range(NUM_PICTURES)]
    annotations = [dict(id=n, image_id=n, caption=CAPTIONS[n % 3]) for n in range(NUM_PICTURES)]
    (folder / 'coco.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    own = [dict(image, caption=CAPTIONS[image['id'] % 3]) for image in images]
    (folder / 'own.json').write_text(json.dumps(dict(images=own)))
    for name in ('coco', 'own'):
        tool.main(command(folder, out=f'{name}.jsonl', captions=('--captions', f'{name}.json')))
        assert [line['grounding'] for line in read(folder / f'{name}.jsonl')] == expected
    with tarfile.open(folder / 'images' / 's-0.tar', 'w') as archive:
        for n in range(NUM_PICTURES):
            archive.add(folder / f'images/{n}.png', f'{n}.png')
            (folder / 'caption').write_text(CAPTIONS[n % 3])
            archive.add(folder / 'caption', f'{n}.txt')
    tool.main(command(folder, out='shards.jsonl', captions=('--shards', 's-{0..0}.tar')))
    lines = read(folder / 'shards.jsonl')
    assert [line['grounding'] for line in lines] == expected
    data = GroundingDataset(data_root=str(folder), ann_file='shards.jsonl', data_prefix=dict(img='images'))
    assert LoadImageFromFile()(data.get_data_info(0))['img'].shape == (SIZE, SIZE, 3)


def test_pictures_and_captions_that_cannot_be_read(tool, folder, checkpoint, capsys):
    (folder / 'images' / '1.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'1\.png is not a readable picture'):
        tool.main(command(folder))
    shutil.rmtree(folder / 'out.jsonl.parts')
    tool.main(command(folder, '--damaged', 'report'))
    assert '1 whose picture or caption cannot be read' in capsys.readouterr().out
    with pytest.raises(MissingFileError, match=r'gone\.json does not exist'):
        tool.main(command(folder, captions=('--captions', 'gone.json')))
    (folder / 'bad.jsonl').write_text('{"filename": "0.png"}')
    with pytest.raises(DataError, match=r"bad\.jsonl is no file of captions \(KeyError: 'caption'\)"):
        tool.main(command(folder, captions=('--captions', 'bad.jsonl')))


def test_captions_that_the_detector_cannot_read_are_counted(tool, folder, checkpoint, monkeypatch, capsys):
    """One word too many must not end a run over millions of captions."""
    detect = Finder.detect

    def refuse_long(self, picture, words, score, prompt):
        check_token_counts([prompt.text], [len(prompt.text)], 25)
        return detect(self, picture, words, score, prompt)

    monkeypatch.setattr(Finder, 'detect', refuse_long)
    with pytest.raises(DataError, match=r"1\.png: 'a green box beside a red box' takes 28 tokens.*--damaged report"):
        tool.main(command(folder))
    tool.main(command(folder, '--damaged', 'report', out='rest.jsonl'))
    assert '3 with boxes, 0 without a box above the score, 3 without a noun phrase, 3 whose' in capsys.readouterr().out
