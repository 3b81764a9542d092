"""Pools of words from captions and lists."""

import json
from pathlib import Path

import pytest
from shard_parts import write_shard

from vlm_dense.errors import ConfigError, DataError, MissingFileError, VocabularyError
from vlm_dense.text.caption_files import read_captions
from vlm_dense.text.concept_pool import ConceptCounter
from vlm_dense.text.vocabulary import Vocabulary

CAPTIONS = [
    'A red dog on a beach.',
    'a dog and a Frisbee',
    'A Dog with the dog near a beach',
    'two frisbees, a frisbee',
]


def counted(captions: list[str] = CAPTIONS, **settings: str) -> ConceptCounter:
    counter = ConceptCounter(**settings)
    counter.add_captions(captions)
    return counter


def test_counts_by_hand() -> None:
    pool = counted().pool()
    expected = {'beach': 2, 'dog': 2, 'Frisbee': 2, 'frisbees': 1, 'red dog': 1}
    assert dict(zip(pool.words, pool.counts, strict=True)) == expected
    assert pool.words == ('beach', 'dog', 'Frisbee', 'frisbees', 'red dog')  # equal counts in alphabetical order
    assert pool.captions == 4


def test_heads_of_phrases() -> None:
    pool = counted(unit='heads').pool()
    assert dict(zip(pool.words, pool.counts, strict=True))['dog'] == 3


def test_order_of_captions_does_not_matter() -> None:
    assert counted(CAPTIONS[::-1]).pool() == counted().pool()


def test_rare_listed_and_refused_words() -> None:
    counter = counted()
    counter.add_words(['wombat', 'Beach'])
    pool = counter.pool(min_count=2, blacklist=['DOG'])
    assert dict(zip(pool.words, pool.counts, strict=True)) == {'beach': 3, 'Frisbee': 2, 'wombat': 1}
    assert counter.pool(min_count=2, max_words=1).words == ('beach',)
    with pytest.raises(VocabularyError, match='none of 6 words of 4 captions is counted 9 times'):
        counter.pool(min_count=9, blacklist=['wombat', 'beach'])


def test_the_file_is_a_vocabulary_and_keeps_counts(tmp_path: Path) -> None:
    pool = counted().pool()
    pool.write(tmp_path / 'pool.json')
    first = (tmp_path / 'pool.json').read_bytes()
    assert Vocabulary.build(str(tmp_path / 'pool.json')).words == pool.words
    assert json.loads(first)['counts'] == list(pool.counts)
    pool.write(tmp_path / 'pool.json')
    assert (tmp_path / 'pool.json').read_bytes() == first


def test_layouts_of_captions(tmp_path: Path) -> None:
    lines = tmp_path / 'lines.txt'
    lines.write_text('\n'.join([CAPTIONS[0], '', CAPTIONS[1]]))
    coco = tmp_path / 'coco.json'
    coco.write_text(json.dumps(dict(annotations=[dict(caption=text) for text in CAPTIONS[:2]])))
    odvg = tmp_path / 'odvg.jsonl'
    records = [dict(grounding=dict(caption=text)) for text in CAPTIONS[:2]]
    odvg.write_text('\n'.join(map(json.dumps, [*records, dict(detection=dict(instances=[]))])))
    shard = tmp_path / 'shard.tar'
    samples = [((f'{n}.jpg', b'?'), (f'{n}.txt', text.encode())) for n, text in enumerate(CAPTIONS[:2])]
    write_shard(shard, [member for sample in samples for member in sample])
    for path in (lines, coco, odvg, shard):
        assert list(read_captions(path)) == CAPTIONS[:2], path


def test_wrong_files_and_settings(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match='no file of captions'):
        list(read_captions(tmp_path / 'none.txt'))
    (tmp_path / 'other.json').write_text('{"images": []}')
    with pytest.raises(DataError, match=r'holds no captions \(KeyError'):
        list(read_captions(tmp_path / 'other.json'))
    with pytest.raises(ConfigError, match="unit='words'"):
        ConceptCounter(unit='words')
