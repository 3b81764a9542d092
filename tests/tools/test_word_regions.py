"""tools/word_regions.py on maps drawn by hand, read again by the data set that it is made for."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask
from recipe_maps import write_coco_stuff_data
from recipes import CONFIGS, tiny_recipe
from tool_modules import tool_module

from vlm_dense.datasets import MaskNounDataset
from vlm_dense.errors import ConfigError, DataError

tool = tool_module('word_regions')
PERSON, CAR, COW = 0, 2, 19  # on disk; cows are never seen in training


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Eight maps of persons and cows, two of which show a car too."""
    write_coco_stuff_data(tmp_path)
    folder = tmp_path / 'data' / 'coco_stuff164k'
    for number in range(8):
        labels_HW = np.full((110, 130), 255, np.uint8)
        labels_HW[: 10 + number] = PERSON
        labels_HW[50:60] = COW
        if number in (2, 5):
            labels_HW[70:, :20] = CAR
        Image.fromarray(labels_HW).save(folder / 'annotations' / 'train2017' / f'{number}_labelTrainIds.png')
        Image.fromarray(np.zeros((110, 130, 3), np.uint8)).save(folder / 'images' / 'train2017' / f'{number}.jpg')
    config = tiny_recipe('zsseg_r101c_cocostuff.py', tmp_path)
    config.dump(tmp_path / 'config.py')
    return config


def test_as_many_regions_of_a_word_as_wanted(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    init_default_scope('mmseg')
    outs = [tmp_path / f'{number}.jsonl' for number in range(3)]
    for out, seed in zip(outs, ('0', '0', '1'), strict=True):
        tool.main([str(tmp_path / 'config.py'), '--each', '3', '--seed', seed, '--out', str(out)])
    assert f'{outs[0]}: 5 regions' in capsys.readouterr().out
    assert outs[0].read_text() == outs[1].read_text() != outs[2].read_text()
    pictures = tmp_path / 'data' / 'coco_stuff164k' / 'images' / 'train2017'
    read = MaskNounDataset(ann_file=str(outs[0]), data_prefix=dict(img=str(pictures)), all_nouns=True)
    entries = [read.get_data_info(row) for row in range(len(read))]
    assert sorted(entry['noun'] for entry in entries) == ['car', 'car', 'person', 'person', 'person']
    assert {entry['vocabulary'] for entry in entries} == {read.vocabulary}
    for entry in entries:
        number = int(Path(entry['img_path']).stem)
        inside_HW = coco_mask.decode(entry['segmentation']).astype(bool)
        expected_HW = np.zeros((110, 130), bool)
        if entry['noun'] == 'person':
            expected_HW[: 10 + number] = True
        else:
            expected_HW[70:, :20] = True
        assert np.array_equal(inside_HW, expected_HW)


def test_maps_without_words_are_told(config: Config, tmp_path: Path) -> None:
    for path in (tmp_path / 'data' / 'coco_stuff164k' / 'annotations' / 'train2017').glob('*.png'):
        Image.fromarray(np.full((110, 130), COW, np.uint8)).save(path)
    with pytest.raises(DataError, match=r'no label map of .*train2017 holds a word'):
        tool.main([str(tmp_path / 'config.py'), '--out', str(tmp_path / 'none.jsonl')])
    assert not (tmp_path / 'none.jsonl').exists()


def test_configs_without_label_maps_are_refused(config: Config, tmp_path: Path) -> None:
    out = ['--out', str(tmp_path / 'none.jsonl')]
    with pytest.raises(ConfigError, match=r'maskclip_vit_b16\.py has no train_dataloader; give'):
        tool.main([str(CONFIGS / 'maskclip_vit_b16.py'), *out])
    config.train_dataloader.dataset = dict(type='mmseg.BaseSegDataset', data_root=str(tmp_path), lazy_init=True)
    config.dump(tmp_path / 'other.py')
    with pytest.raises(ConfigError, match=r'other\.py reads a BaseSegDataset; give'):
        tool.main([str(tmp_path / 'other.py'), *out])
