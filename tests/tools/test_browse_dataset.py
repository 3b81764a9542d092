"""tools/browse_dataset.py: every kind of data set of the recipes, with its words where they belong."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from recipe_data import write_ade20k_data, write_boxes_data, write_coco_stuff_data, write_phrasecut_data
from recipes import ROOT, SIDE, tiny_recipe

sys.path.insert(0, str(ROOT / 'tools'))
import browse_dataset
from browse_parts.drawing import draw_sample

from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.visualization import color_of

MASK_OPACITY = 0.4


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('browse')
    for write in (write_ade20k_data, write_boxes_data, write_coco_stuff_data, write_phrasecut_data):
        write(root)
    return root


def write_config(recipe: str, root: Path) -> Path:
    """What a recipe says of its data; mmengine takes seconds to lay out a whole config."""
    cfg = tiny_recipe(recipe, root).to_dict()
    lines = [f'{key} = {cfg[key]!r}' for key in cfg if key == 'default_scope' or key.endswith('_dataloader')]
    (root / recipe).write_text('\n'.join(lines))
    return root / recipe


@pytest.mark.parametrize('options', [[], ['--raw']], ids=['as_seen', 'raw'])
@pytest.mark.parametrize(
    ('recipe', 'split', 'told'),
    [
        ('vild_r50_lvis.py', 'train', '2 object(s)'),
        ('vild_r50_ovcoco.py', 'test', '2 object(s)'),
        ('lseg_vit_l16_ade20k.py', 'train', 'ignored '),
        ('maskclip_vit_b16.py', 'test', ' word(s), background 0%, ignored 10%'),
        ('clipseg_rd64_vit_b16_phrasecut.py', 'train', '1 word(s), background '),
    ],
)
def test_data_sets_of_recipes(
    recipe: str, split: str, told: str, options: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = write_config(recipe, root), root / f'{recipe}-{split}-{len(options)}'
    assert browse_dataset.main([str(config), '--split', split, '--out', str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert printed.count(told) == 2
    assert sorted(path.name for path in out.iterdir()) == ['000000.png', '000001.png', 'contact_sheet.png']
    with Image.open(out / '000000.png') as drawn:
        assert np.asarray(drawn).std() > 1
        if options:
            assert drawn.size in {(SIDE, SIDE), (130, 110), (SIDE + 14, SIDE)}, 'a raw picture has its own size'


def test_annotations_beside_pictures(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = root / 'data' / 'coco'
    json_file = coco / 'annotations' / 'instances_val2017_all_2.json'
    pictures = ['--pictures', str(coco / 'val2017'), '--out', str(tmp_path)]
    assert browse_dataset.main(['--annotations', str(json_file), *pictures, '--number', '1']) == 0
    assert '2 object(s)' in capsys.readouterr().out
    categories = json.loads(json_file.read_text())['categories']
    with Image.open(tmp_path / '000000.png') as drawn:
        assert np.asarray(drawn)[48, 28].tolist() == list(color_of(categories[0]['name'])), (
            'lower edge of the first box'
        )


def test_label_maps_beside_pictures(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / 'data' / 'ade' / 'ADEChallengeData2016'
    arguments = ['--annotations', str(folder / 'annotations' / 'training'), '--out', str(tmp_path)]
    arguments += ['--pictures', str(folder / 'images' / 'training')]
    assert browse_dataset.main(arguments) == 2
    assert 'Give --vocabulary' in capsys.readouterr().err
    assert browse_dataset.main([*arguments, '--vocabulary', 'ade20k', '--first-label', '1']) == 0
    assert 'written: 2 of 2 pictures' in capsys.readouterr().out


def test_errors_are_one_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config('maskclip_vit_b16.py', root)
    assert browse_dataset.main([str(config)]) == 2
    assert 'has no train_dataloader. It has val, test.' in capsys.readouterr().err
    assert browse_dataset.main([str(tmp_path / 'gone.py')]) == 2
    assert 'does not exist' in capsys.readouterr().err
    beside = ['--annotations', 'a.json', '--pictures', '.']
    for wrong, told in (
        ([], 'give a config or --annotations'),
        ([str(config), *beside], 'give a config or --annotations'),
        (beside[:2], '--annotations and --pictures go together'),
        ([*beside, '--raw'], '--raw: means nothing without a config'),
        ([str(config), '--first-label', '1'], '--first-label: means nothing with a config'),
    ):
        with pytest.raises(SystemExit):
            browse_dataset.main(wrong)
        assert told in capsys.readouterr().err


def seg_sample(labels_HW: np.ndarray, words: list[str]) -> SegDataSample:
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels_HW)[None]))
    sample.set_metainfo(dict(vocabulary=Vocabulary.from_words(words)))
    return sample


def test_more_than_254_words_background_and_ignored_pixels() -> None:
    words = [f'word {n}' for n in range(300)]
    labels_HW = np.full((90, 90), 255)
    labels_HW[60:, :30], labels_HW[60:, 30:60], labels_HW[60:, 60:] = 299, 300, 65535
    inputs_3HW = torch.tensor([30, 60, 120], dtype=torch.uint8)[:, None, None].expand(3, 90, 90)
    drawn, what = draw_sample(inputs_3HW, seg_sample(labels_HW, words), (), 65535, False)
    rgb = np.array([120, 60, 30])
    for name, y, x in (('word 255', 3, 3), ('word 299', 88, 2)):
        assert np.allclose(drawn[y, x], 0.55 * np.array(color_of(name)) + 0.45 * rgb, atol=3)
    assert (drawn[87:, 32:58] == 70).all(), 'background is grey'
    assert set(np.unique(drawn[85:, 65:])) == {0, 255}, 'ignored pixels are black and white'
    assert what == '2 word(s), background 11%, ignored 11%'


def test_a_word_called_background_is_a_word() -> None:
    labels_HW = np.zeros((40, 40), dtype=np.int64)
    inputs_3HW = torch.zeros(3, 40, 40, dtype=torch.uint8)
    drawn, what = draw_sample(inputs_3HW, seg_sample(labels_HW, ['background', 'cat']), (), 255, False)
    assert what.startswith('1 word(s), background 0%')
    assert np.allclose(drawn[1, 1], 0.55 * np.array(color_of('background')), atol=3)


@pytest.mark.parametrize('with_masks', [True, False])
def test_truth_of_the_original_size_meets_a_resized_picture(with_masks: bool) -> None:
    instances = InstanceData(bboxes=torch.tensor([[20.0, 40, 80, 90]]), labels=torch.tensor([1]))
    if with_masks:
        masks_1HW = np.zeros((1, 100, 120), np.uint8)
        masks_1HW[0, 40:90, 20:80] = 1
        instances.masks = BitmapMasks(masks_1HW, 100, 120)
    sample = DetDataSample(gt_instances=instances, metainfo=dict(ori_shape=(100, 120), img_shape=(50, 60)))
    inputs_3HW = torch.zeros(3, 50, 60, dtype=torch.uint8)
    drawn, what = draw_sample(inputs_3HW, sample, ('cat', 'dog'), None, True)
    assert drawn.shape == (100, 120, 3)
    assert tuple(drawn[90, 50]) == color_of('dog')
    inside = np.array(color_of('dog')) * (MASK_OPACITY if with_masks else 0)
    assert np.allclose(drawn[70, 50], inside, atol=2)
    assert what == '1 object(s)'
