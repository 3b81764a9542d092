"""The captions of the built-in pictures with a box per name."""

import json
import shutil
from pathlib import Path

import pytest
from picture_support import SMALL

from vlm_dense.datasets.annotation_checks import CheckOptions, check_annotations
from vlm_dense.datasets.pictures import compose_pictures
from vlm_dense.datasets.pictures.captions_odvg import word_spans
from vlm_dense.datasets.pictures.records import caption
from vlm_dense.text.vocabulary import Vocabulary

PARTS = ('train', 'val', 'test')


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


@pytest.mark.parametrize('part', PARTS)
def test_every_object_has_its_name_at_its_place(picture_set, part):
    document = json.loads((picture_set / f'{part}.json').read_text(encoding='utf-8'))
    names = {category['id']: category['name'] for category in document['categories']}
    entries = lines(picture_set / f'{part}_odvg.jsonl')
    assert [entry['filename'] for entry in entries] == [image['file_name'] for image in document['images']]
    for image, entry in zip(document['images'], entries, strict=True):
        text, regions = entry['grounding']['caption'], entry['grounding']['regions']
        assert text == image['caption']
        placed = [one for one in document['annotations'] if one['image_id'] == image['id']]
        assert [region['phrase'] for region in regions] == [names[one['category_id']] for one in placed]
        for region, annotation in zip(regions, placed, strict=True):
            ((start, end),) = region['tokens_positive']
            assert text[start:end] == region['phrase']
            x, y, width, height = annotation['bbox']
            assert region['bbox'] == [x, y, x + width, y + height]


def test_the_checker_finds_nothing_and_training_has_base_words_only(picture_set):
    base = json.loads((picture_set / 'vocabulary.json').read_text(encoding='utf-8'))['base']
    for part in PARTS:
        options = CheckOptions(pictures=picture_set)
        assert len(check_annotations(picture_set / f'{part}_odvg.jsonl', options)) == 0
    phrases = {
        region['phrase']
        for entry in lines(picture_set / 'train_odvg.jsonl')
        for region in entry['grounding']['regions']
    }
    assert phrases <= set(Vocabulary.from_words(base).words)


@pytest.mark.parametrize('words', [['scissors'], ['corn', 'planet earth'], ['ant', 'an', 'and', 'apple']])
def test_places_are_counted_where_articles_and_names_look_alike(words):
    text = caption(words)
    assert [text[start:end] for start, end in word_spans(words)] == words


def test_an_older_set_gets_the_files_and_keeps_the_rest(picture_set, tmp_path):
    out = tmp_path / 'pictures'
    shutil.copytree(picture_set, out)
    for part in PARTS:
        (out / f'{part}_odvg.jsonl').unlink()
    times = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file()}
    assert not compose_pictures(out, SMALL)['made']
    assert all(path.stat().st_mtime_ns == before for path, before in times.items())
    for part in PARTS:
        assert (out / f'{part}_odvg.jsonl').read_bytes() == (picture_set / f'{part}_odvg.jsonl').read_bytes()
    assert not list(out.glob('.*'))
