"""Sentences in MDETR's layout: phrases, their boxes, and what a detector is asked for."""

import json

import numpy as np
import pytest
from PIL import Image

from vlm_dense.datasets import AttachVocabulary, PhraseGroundingDataset
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.text.phrase_vocabulary import phrase_vocabulary

CAPTION = 'A man and a dog see two dogs and a man'
MAN, DOG, DOGS, AGAIN = (0, 5), (10, 15), (20, 28), (33, 38)


def flickr() -> dict:
    """Two sentences of Flickr30k: numbers as text, a box of two phrases, several boxes of one."""
    boxes = [([10, 10, 20, 30], [MAN, AGAIN]), ([40, 10, 10, 10], [DOG]), ([60, 10, 10, 10], [DOGS])]
    boxes.append(([80, 10, 10, 10], [DOGS]))
    annotations = [
        dict(id=row, image_id=7, bbox=box, area=1, iscrowd=0, category_id=1, tokens_positive=[list(p) for p in places])
        for row, (box, places) in enumerate(boxes)
    ]
    described = dict(width='100', height='60', dataset_name='flickr', original_img_id=1)
    places = [[list(place)] for place in (MAN, DOG, DOGS, AGAIN)]
    sentence = dict(described, id=7, file_name='a.jpg', caption=CAPTION, sentence_id=0, tokens_positive_eval=places)
    silent = dict(described, id=3, file_name='a.jpg', caption='nothing', sentence_id=1, tokens_positive_eval=[])
    return dict(images=[sentence, silent], annotations=annotations, categories=[dict(id=1, name='object')])


def refcoco() -> dict:
    image = dict(id=5, original_id=1, file_name='a.jpg', width=100, height=60, dataset_name='refcoco')
    annotation = dict(id=0, image_id=5, bbox=[1.5, 2, 30, 40], area=1, iscrowd=0, category_id=1)
    return dict(images=[dict(image, caption='the left one')], annotations=[annotation], categories=[])


@pytest.fixture
def load(tmp_path):
    (tmp_path / 'pictures').mkdir()
    Image.fromarray(np.zeros((60, 100, 3), dtype=np.uint8)).save(tmp_path / 'pictures' / 'a.jpg')

    def build(content, **options):
        (tmp_path / 'sentences.json').write_text(json.dumps(content))
        prefix = options.pop('data_prefix', dict(img='pictures/'))
        return PhraseGroundingDataset(
            data_root=str(tmp_path), ann_file='sentences.json', data_prefix=prefix, test_mode=True, **options
        )

    return build


def test_phrases_have_all_their_boxes(load):
    dataset = load(flickr())
    assert len(dataset) == 1, 'the sentence without phrases is left out'
    entry = dataset.get_data_info(0)
    assert entry['img_id'] == 7
    assert entry['phrases'] == ('A man', 'a dog', 'two dogs', 'a man')
    man, dog, one, two = [10, 10, 30, 40], [40, 10, 50, 20], [60, 10, 70, 20], [80, 10, 90, 20]
    assert entry['phrase_boxes'] == [[man], [dog], [one, two], [man]]
    assert (entry['width'], entry['height']) == (100, 60)
    assert [one['bbox_label'] for one in entry['instances']] == [0, 1, 2, 2, 0]


def test_a_referring_expression_is_one_phrase(load):
    entry = load(refcoco()).get_data_info(0)
    assert entry['phrases'] == ('the left one',)
    assert entry['phrase_boxes'] == [[[1.5, 2, 31.5, 42]]]


def test_every_sample_asks_for_its_own_phrases(load):
    steps = [dict(type='LoadImageFromFile'), dict(type='mmdet.Resize', scale=(50, 30))]
    steps += [dict(type='mmdet.PackDetInputs'), dict(type='vlm_dense.AttachVocabulary')]
    sample = load(flickr(), pipeline=steps)[0]['data_samples']
    assert sample.vocabulary.words == ('A man', 'a dog', 'two dogs')
    assert phrase_vocabulary(sample.phrases)[1] == [0, 1, 2, 0]
    assert sample.phrase_boxes[1] == [[40, 10, 50, 20]], 'pixels of the picture, not of the resized one'
    assert sample.prompt.text == sample.text
    said = [[sample.text[start:end] for start, end in spans] for spans in sample.prompt.spans]
    assert [words[0] for words in said] == list(sample.vocabulary.words)
    assert len(said[0]) == 2, 'the phrase that stands twice is one word with two places'
    del sample.phrases
    with pytest.raises(ConfigError, match=r'a\.jpg brings no phrases'):
        AttachVocabulary().transform(dict(data_samples=sample))
    assert repr(AttachVocabulary()) == 'AttachVocabulary(phrases of the sample)'


def test_errors_name_the_sentence(load, tmp_path):
    content = flickr()
    del content['annotations'][1]
    with pytest.raises(DataError, match=r"sentence 7 .* has no box for 'a dog'"):
        load(content)
    content = refcoco()
    content['images'][0]['caption'] = ' '
    with pytest.raises(DataError, match=r'sentence 5 .* no detector can be asked for'):
        load(content)
    content = refcoco()
    del content['images'][0]['caption']
    with pytest.raises(DataError, match=r"MDETR's layout \(KeyError: 'caption'\)"):
        load(content)
    with pytest.raises(DataError, match='lists no sentence'):
        load(dict(images=[], annotations=[]))
    with pytest.raises(MissingFileError, match='folder of pictures'):
        load(refcoco(), data_prefix=dict(img='nowhere/'))
    with pytest.raises(MissingFileError, match='annotation file'):
        PhraseGroundingDataset(data_root=str(tmp_path), ann_file='nothing.json', data_prefix=dict(img='pictures/'))
