"""Captions in tar files: names, index, damage, sharing between workers, and the peer that made the format."""

import io
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from PIL import Image
from shard_parts import write_shard
from torch.utils.data import DataLoader

from vlm_dense.datasets import CaptionShards, GroundingDataset
from vlm_dense.datasets.shards import index
from vlm_dense.datasets.shards.members import read_member
from vlm_dense.datasets.shards.names import expand_braces
from vlm_dense.errors import ConfigError, DataError, MissingFileError

READ = [dict(type='mmdet.LoadImageFromFile', imdecode_backend='pillow'), dict(type='mmdet.PackDetInputs')]


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), value, np.uint8)).save(buffer, 'PNG')
    return buffer.getvalue()


def sample(number: int, kind: str = 'txt') -> list[tuple[str, bytes]]:
    caption = f'a red dog number {number} and a cat'
    content = caption.encode() if kind == 'txt' else json.dumps(dict(caption=caption)).encode()
    return [(f'{number:05d}.png', picture(number)), (f'{number:05d}.{kind}', content)]


@pytest.fixture
def shards(tmp_path, monkeypatch) -> Path:
    """Three shards: 4, 3 and 5 samples; captions in txt, json and both."""
    monkeypatch.setenv('VLM_DENSE_CACHE', str(tmp_path / 'cache'))
    write_shard(tmp_path / 's-08.tar', [one for n in range(4) for one in sample(n)])
    write_shard(tmp_path / 's-09.tar', [one for n in range(4, 7) for one in sample(n, 'json')])
    both = [one for n in range(7, 12) for one in (*sample(n), (f'{n:05d}.json', b'{"sha": 1}'))]
    write_shard(tmp_path / 's-10.tar', [('__meta__/', b''), *both])
    return tmp_path


def load(root: Path, names='s-{08..10}.tar', **options) -> CaptionShards:
    return CaptionShards(names, data_root=str(root), **options)


def test_names():
    assert list(expand_braces('a-{08..11}.tar')) == ['a-08.tar', 'a-09.tar', 'a-10.tar', 'a-11.tar']
    assert list(expand_braces('{a,b}/{1..0}')) == ['a/1', 'a/0', 'b/1', 'b/0']
    assert list(expand_braces('plain.tar')) == ['plain.tar']
    with pytest.raises(ConfigError, match='neither a range nor a choice'):
        list(expand_braces('a{x}'))


def test_every_sample_is_an_entry(shards):
    data = load(shards)
    assert len(data) == 12
    for number in range(12):
        entry = data.get_data_info(number)
        assert entry['text'] == f'a red dog number {number} and a cat'
        assert read_member(entry['img_path']) == picture(number)
        assert [entry['text'][s:e] for ((s, e),) in entry['prompt'].spans] == list(entry['vocabulary'].words)
        assert 'cat' in entry['phrases']
    assert data.get_data_info(-1)['img_id'] == 11
    assert load(shards, ['s-10.tar', 's-08.tar']).get_data_info(5)['text'] == data.get_data_info(0)['text']


def test_any_pipeline_reads_the_pictures_and_keeps_the_words(shards):
    packed = load(shards, pipeline=READ)[5]
    assert packed['inputs'].shape == (3, 8, 12)
    assert (packed['inputs'] == 5).all()
    assert packed['data_samples'].text == 'a red dog number 5 and a cat'
    assert packed['data_samples'].prompt.text == packed['data_samples'].text


def test_a_repeated_phrase_is_one_word_and_none_is_the_whole_caption(shards):
    captions = (b'a cat, a dog and a Cat', b'is it?\n')
    write_shard(
        shards / 'x.tar', [one for n, c in enumerate(captions) for one in ((f'{n}.jpg', b'x'), (f'{n}.txt', c))]
    )
    first, second = (load(shards, 'x.tar').get_data_info(row) for row in range(2))
    assert first['phrases'] == ('cat', 'dog')
    assert first['prompt'].spans == (((2, 5), (19, 22)), ((9, 12),))
    assert (second['phrases'], second['prompt'].spans) == (('is it?',), (((0, 6),),))


def test_the_same_samples_as_the_format_s_own_package(shards):
    webdataset = pytest.importorskip('webdataset')
    urls = [str(shards / f's-{number:02d}.tar') for number in (8, 9, 10)]
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False))
    data = load(shards)
    assert len(theirs) == len(data)
    for row, peer in enumerate(theirs):
        entry = data.get_data_info(row)
        assert read_member(entry['img_path']) == peer['png']
        assert entry['text'] == (peer['txt'].decode() if 'txt' in peer else json.loads(peer['json'])['caption'])


def test_processes_and_workers_share_without_overlap_and_go_on(shards):
    data = load(shards, pipeline=READ)

    def numbers(sampler, workers, skip=0, stop=None):
        loader = DataLoader(data, 2, sampler=sampler, num_workers=workers, collate_fn=list)
        return [one['data_samples'].img_id for batch in islice(loader, skip, stop) for one in batch]

    seen = []
    for rank in range(2):
        sampler = DefaultSampler(data, shuffle=True, seed=0)
        sampler.rank, sampler.world_size = rank, 2
        sampler.num_samples, sampler.total_size = 6, 12
        seen += numbers(sampler, workers=2)
    assert sorted(seen) == list(range(12))
    whole = numbers(InfiniteSampler(data, seed=1), 2, stop=9)
    assert numbers(InfiniteSampler(data, seed=1), 2, skip=5, stop=9) == whole[10:]


def test_the_index_is_made_once_per_state_of_a_shard(shards, monkeypatch):
    read, times = index.read_index, []
    monkeypatch.setattr(index, 'read_index', lambda path: times.append(path) or read(path))
    load(shards)
    load(shards)
    assert len(times) == 3
    write_shard(shards / 's-08.tar', sample(3))
    assert len(load(shards)) == 9
    assert len(times) == 4
    for kept in (shards / 'cache').rglob('*.json'):
        kept.write_text('{')
    assert len(load(shards)) == 9


def test_what_is_not_whole_is_refused_or_reported(shards, caplog):
    members = [*sample(0), ('1.png', picture(1)), ('2.txt', b'a dog'), ('3.png', b''), ('3.txt', b'a')]
    write_shard(shards / 'x.tar', [*members, *sample(0), ('00009.TXT', b'a cat'), ('00009.JPG', picture(9))])
    with pytest.raises(DataError, match=r"5 of 7 samples .*x\.tar: 00000: has two \.png.*damaged='report'"):
        load(shards, 'x.tar')
    data = load(shards, 'x.tar', damaged='report')
    assert len(data) == 2
    assert '5 of 7 samples of the shards are not whole and are left out' in caplog.text
    assert data.get_data_info(1)['text'] == 'a cat'


def test_what_cannot_be_read_is_refused_or_reported(shards, caplog):
    damaged = [('7.png', picture(7)[:40]), ('7.txt', b'a dog'), ('8.png', picture(8)), ('8.json', b'{"text": "a dog"}')]
    write_shard(shards / 'x.tar', [*damaged, *sample(0)])
    data = load(shards, 'x.tar', pipeline=READ)
    with pytest.raises(DataError, match=r'picture .*x\.tar: 7\.png cannot be decoded'):
        data[0]
    with pytest.raises(DataError, match=r"x\.tar: 8\.json: no caption can be read \(KeyError: 'caption'\)"):
        data[1]
    np.random.seed(0)
    forgiving = load(shards, 'x.tar', pipeline=READ, damaged='report')
    assert forgiving[0]['data_samples'].img_id == forgiving[1]['data_samples'].img_id == 2
    assert '2 samples could not be read in this process so far' in caplog.text
    with pytest.raises(DataError, match='cannot be decoded'):
        load(shards, 'x.tar', pipeline=READ, damaged='report', test_mode=True)[0]


@pytest.mark.parametrize('keep', [700, 1024, 1536, 0])
def test_a_shard_that_was_cut_off_is_named(shards, keep):
    os.truncate(shards / 's-09.tar', keep)
    with pytest.raises(DataError, match=r's-09\.tar (is cut off|cannot be read)'):
        load(shards)


def test_missing_shards_and_wrong_settings(shards):
    with pytest.raises(MissingFileError, match=r'1 of 4 shards are not there, such as .*s-11\.tar; check data_root'):
        load(shards, 's-{08..11}.tar')
    with pytest.raises(ConfigError, match='name a file twice'):
        load(shards, ['s-08.tar', 's-{08..09}.tar'])
    with pytest.raises(ConfigError, match="'refuse' or 'report'"):
        load(shards, damaged='skip')
    write_shard(shards / 'x.tar', [])
    with pytest.raises(DataError, match='hold no sample'):
        load(shards, 'x.tar')
    data = load(shards, 's-08.tar', pipeline=READ)
    os.truncate(shards / 's-08.tar', 600)
    with pytest.raises(DataError, match=r's-08\.tar ends before'):
        data[0]
    (shards / 's-08.tar').unlink()
    with pytest.raises(MissingFileError, match=r's-08\.tar does not exist'):
        data[0]


def test_odvg_lines_may_name_pictures_in_shards(shards):
    place = load(shards).get_data_info(2)['img_path'].rpartition('/')[2]
    region = dict(bbox=[1, 1, 5, 5], phrase='a dog', tokens_positive=[[0, 5]])
    line = dict(filename=place, height=8, width=12, grounding=dict(caption='a dog', regions=[region]))
    (shards / 'a.jsonl').write_text(json.dumps(line))
    data = GroundingDataset(data_root=str(shards), ann_file='a.jsonl', data_prefix=dict(img=''), pipeline=READ)
    assert (data[0]['inputs'] == 2).all()
