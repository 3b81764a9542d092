"""tools/data/goldg_to_odvg.py: boxes keep their places in the caption."""

import json

import pytest
from recipe_data import tool_module

from vlm_dense.datasets import GroundingDataset
from vlm_dense.datasets.annotation_checks import check_annotations
from vlm_dense.errors import DataError, MissingFileError

CAPTION = 'a man and a man'


@pytest.fixture
def convert():
    return tool_module('data/goldg_to_odvg').main


def test_boxes_of_equal_phrases_stay_apart(convert, tmp_path, capsys):
    images = [dict(id=5, file_name='a.jpg', height='60', width='100', caption=CAPTION)]
    images.append(dict(images[0], id=7, caption='nothing'))
    places = ([[0, 5]], [[12, 15], [10, 11]])
    annotations = [
        dict(id=row, image_id=5, bbox=[10 * row, 1, 8, 9], area=72, iscrowd=0, tokens_positive=spans)
        for row, spans in enumerate(places)
    ]
    annotations.append(dict(annotations[0], iscrowd=1))
    (tmp_path / 'a.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    convert([str(tmp_path / 'a.json'), '--out', str(tmp_path / 'a.jsonl')])
    assert '1 captions; 1 without a box are left out' in capsys.readouterr().out
    assert len(check_annotations(tmp_path / 'a.jsonl')) == 0
    entry = GroundingDataset(ann_file=str(tmp_path / 'a.jsonl'), data_prefix=dict(img='')).get_data_info(0)
    assert entry['vocabulary'].words == ('a man', 'a man (2)')
    assert entry['prompt'].spans == (((0, 5),), ((10, 11), (12, 15)))
    found = [(one['bbox'], one['bbox_label']) for one in entry['instances']]
    assert found == [([0, 1, 8, 10], 0), ([10, 1, 18, 10], 1)]


def test_other_files_are_refused_and_nothing_is_left(convert, tmp_path):
    (tmp_path / 'a.json').write_text('{"images": [{"id": 1}], "annotations": []}')
    with pytest.raises(DataError, match=r"a\.json is not in MDETR's layout \(KeyError: 'caption'\); give files"):
        convert([str(tmp_path / 'a.json'), '--out', str(tmp_path / 'a.jsonl')])
    with pytest.raises(MissingFileError, match=r'b\.json does not exist'):
        convert([str(tmp_path / 'b.json'), '--out', str(tmp_path / 'a.jsonl')])
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']
