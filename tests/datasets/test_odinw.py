"""ODinW's data sets against mmdet's configs, and as data sets and words."""

import json
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

from vlm_dense.datasets import VocabularyCocoDataset, odinw_sets
from vlm_dense.errors import ConfigError, DataError
from vlm_dense.text.vocabulary import Vocabulary

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'glip' / 'odinw'


@pytest.mark.parametrize('suite', ['odinw13', 'odinw35'])
def test_places_and_classes_are_those_of_mmdet(suite):
    cfg = Config.fromfile(CONFIGS / f'glip_atss_swin-t_a_fpn_dyhead_pretrain_{suite}.py')
    sets = odinw_sets(suite)
    assert [one.name for one in sets] == list(cfg.dataset_prefixes)
    assert len(sets) == int(suite[5:])
    for one, theirs in zip(sets, cfg.datasets, strict=True):
        root = theirs.data_root.removeprefix('data/')
        assert one.annotations == root + theirs.ann_file
        assert one.pictures == root + theirs.data_prefix['img']
        assert one.classes == tuple(theirs.metainfo['classes'])


@pytest.mark.parametrize('suite', ['odinw13', 'odinw35'])
def test_the_words_of_every_set_make_a_vocabulary(suite):
    for one in odinw_sets(suite):
        assert len(Vocabulary.from_words(one.words)) == len(one.classes)
        assert set(one.category_words) <= set(one.classes)
        assert not any('_' in word for word in one.words)


def test_a_suite_that_is_none():
    with pytest.raises(ConfigError, match="no suite 'odinw'"):
        odinw_sets('odinw')


def test_every_category_of_a_set_gets_its_label(tmp_path):
    boggle = next(one for one in odinw_sets('odinw35') if one.name == 'boggleBoards')
    categories = [dict(id=row + 1, name=name) for row, name in enumerate(boggle.classes)]
    annotations = [
        dict(id=category['id'], image_id=0, category_id=category['id'], bbox=[0, 0, 5, 5], area=25, iscrowd=0)
        for category in categories
    ]
    image = dict(id=0, file_name='images/v1/patch8/a.jpg', width=9, height=9)
    content = dict(images=[image], annotations=annotations, categories=categories)
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    dataset = VocabularyCocoDataset(
        ann_file=str(tmp_path / 'boxes.json'),
        data_prefix=dict(img=str(tmp_path)),
        vocabulary=boggle.words,
        category_words=boggle.category_words,
        path_parts=2,
        test_mode=True,
    )
    entry = dataset.get_data_info(0)
    assert [one['bbox_label'] for one in entry['instances']] == list(range(len(boggle.classes)))
    assert entry['img_path'] == f'{tmp_path}/patch8/a.jpg'


def test_names_that_are_one_word_are_refused(tmp_path):
    categories = [dict(id=1, name='Q'), dict(id=2, name='q')]
    image = dict(id=0, file_name='a.jpg', width=9, height=9)
    (tmp_path / 'boxes.json').write_text(json.dumps(dict(images=[image], annotations=[], categories=categories)))
    options = dict(ann_file=str(tmp_path / 'boxes.json'), data_prefix=dict(img=''), vocabulary=['q'], test_mode=True)
    with pytest.raises(DataError, match=r"several categories have the name 'Q'.*category_words"):
        VocabularyCocoDataset(**options)
    dataset = VocabularyCocoDataset(**options, category_words={'Q': None})
    assert dataset.cat2label == {2: 0}
