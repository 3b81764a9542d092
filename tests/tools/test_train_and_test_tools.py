"""tools/train.py and tools/test.py as a user meets them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tiny_runs import DETECTOR, SEGMENTOR, SIZE, WORDS, unique_name, write_config, write_pictures

from vlm_dense.engine import command_line
from vlm_dense.engine.command_line import one_line
from vlm_dense.errors import DataError

TOOLS = Path(__file__).parents[2] / 'tools'


def run_training(arguments):
    return command_line.run_training(named(arguments))


def run_testing(arguments):
    return command_line.run_testing(named(arguments))


def named(arguments):
    option = f'experiment_name={unique_name()}'
    if '--cfg-options' not in arguments:
        return [*arguments, '--cfg-options', option]
    place = arguments.index('--cfg-options') + 1
    return [*arguments[:place], option, *arguments[place:]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tools')
    write_pictures(folder)
    drawing = (
        "default_hooks['visualization'] = dict(type='DetVisualizationHook')\n"
        "visualizer['type'] = 'DetLocalVisualizer'\n"
    )
    write_config(folder, 'detector', DETECTOR + drawing)
    write_config(folder, 'segmentor', SEGMENTOR + drawing.replace('Det', 'Seg'))
    return folder


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('VLM_DENSE_DEBUG', raising=False)


@pytest.fixture(scope='module')
def trained(folder):
    """Checkpoints after two steps."""
    for name in ('detector', 'segmentor'):
        work_dir = str(folder / f'trained_{name}')
        options = ['--cfg-options', 'train_cfg.max_iters=2']
        assert run_training([str(folder / f'{name}.py'), '--work-dir', work_dir, *options]) == 0
    return {name: str(folder / f'trained_{name}' / 'iter_2.pth') for name in ('detector', 'segmentor')}


def figures(work_dir):
    newest = max(Path(work_dir).glob('*/*.json'))
    return json.loads(newest.read_text().splitlines()[-1])


def test_training_resumes_where_it_stopped(folder, trained):
    config = str(folder / 'detector.py')
    work_dir = Path(trained['detector']).parent
    options = ['--cfg-options', 'train_cfg.max_iters=4']
    assert run_training([config, '--work-dir', str(work_dir), '--resume', *options]) == 0
    # Runs that begin in one second share a folder.
    steps = ''.join(path.read_text() for path in sorted(work_dir.glob('*/vis_data/scalars.json')))
    assert [json.loads(line)['step'] for line in steps.splitlines()] == [1, 2, 3, 4]


def test_predictions_and_figures(folder, trained, tmp_path):
    out = tmp_path / 'found' / 'boxes.json'
    arguments = [str(folder / 'detector.py'), trained['detector'], '--work-dir', 'run', '--out', str(out)]
    assert run_testing([*arguments, '--show-dir', 'drawn']) == 0
    found = json.loads(out.read_text())
    assert {entry['word'] for entry in found} <= set(WORDS)
    truth = COCO(str(folder / 'boxes.json'))
    assert len(truth.loadRes(found).anns) == len(found) > 0
    assert {'base_ap50', 'novel_ap50', 'all_ap50'} <= figures('run').keys()
    assert len(list(Path('run').glob('*/drawn/*.png'))) == 9


def test_label_maps_and_figures(folder, trained, tmp_path):
    arguments = [str(folder / 'segmentor.py'), trained['segmentor'], '--work-dir', 'run', '--out', 'regions.json']
    assert run_testing([*arguments, '--show-dir', 'drawn']) == 0
    assert len(list(Path('drawn').rglob('*.png'))) == 9
    found = json.loads(Path('regions.json').read_text())
    assert {entry['word'] for entry in found} <= set(WORDS)
    assert all(coco_mask.decode(entry['segmentation']).shape == (SIZE, SIZE) for entry in found)
    assert {'seen_miou', 'unseen_miou', 'hiou', 'background_iou'} <= figures('run').keys()


def test_nothing_warns_of_drawings_that_nobody_asked_for(folder, trained, recwarn):
    assert run_testing([str(folder / 'segmentor.py'), trained['segmentor'], '--work-dir', 'run']) == 0
    assert not [one for one in recwarn if 'visualization' in str(one.message)]


def test_other_words_in_any_order_are_matched_by_name(folder, trained, tmp_path):
    config, checkpoint = str(folder / 'detector.py'), trained['detector']
    assert run_testing([config, checkpoint, '--work-dir', 'own', '--out', 'own.json']) == 0
    Path('words.txt').write_text('\n'.join([*reversed(WORDS)]))
    arguments = [config, checkpoint, '--work-dir', 'other', '--out', 'other.json', '--vocabulary', 'words.txt']
    assert run_testing(arguments) == 0
    own, other = figures('own'), figures('other')
    for name in ('base_ap50', 'novel_ap50', 'all_ap'):
        assert other[name] == pytest.approx(own[name], abs=1e-6)
    by_word = []
    for file in ('own.json', 'other.json'):
        found = json.loads(Path(file).read_text())
        by_word.append(sorted((entry['image_id'], entry['word'], round(entry['score'], 4)) for entry in found))
    assert by_word[0] == by_word[1]


def test_words_that_miss_a_category_are_one_clear_error(folder, trained, capsys):
    Path('words.txt').write_text('red box\nzebra\n')
    arguments = [str(folder / 'detector.py'), trained['detector'], '--work-dir', 'run', '--vocabulary', 'words.txt']
    assert run_testing(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert "lacks 2: 'green box', 'blue box'" in last


def test_a_checkpoint_of_another_model_is_refused(folder, trained, capsys):
    # A backbone in common is not enough: figures of untrained heads mean nothing.
    assert run_testing([str(folder / 'segmentor.py'), trained['detector'], '--work-dir', 'run']) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(
        r"iter_2\.pth' leaves \d+ of the \d+ parameters .*backbone\.stem.* trained with this config", error
    )
    torch.save({'state_dict': {'something.weight': torch.ones(3)}}, 'wrong.pth')
    assert run_testing([str(folder / 'detector.py'), 'wrong.pth', '--work-dir', 'run']) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: no weight of 'wrong.pth' fits the model")


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.py'], 'error: config nowhere.py does not exist; the recipes lie in configs/.'),
        (['CONFIG', '--cfg-options', 'model.neck.num_out=3'], "did you mean 'num_outs'"),
        (['CONFIG', '--cfg-options', 'words=3'], "--cfg-options sets 'words'"),
        (['CONFIG', '--amp'], 'take --amp bfloat16'),
        (['CONFIG', '--cfg-options', 'optim_wrapper.type=AmpOptimWrapper'], 'AmpOptimWrapper) needs a GPU'),
        (['CONFIG', '--auto-scale-lr'], 'auto_scale_lr = dict('),
        (['CONFIG', '--resume', 'none.pth'], "checkpoint 'none.pth' does not exist"),
        (['CONFIG', '--work-dir', 'file/below'], 'cannot make the work folder'),
        (['CONFIG', '--launcher', 'pytorch'], "launcher pytorch needs the environment variable 'RANK'"),
        (
            ['CONFIG', '--cfg-options', 'train_dataloader.dataset.ann_file=none.json'],
            'none.json',
        ),
        (
            [
                'CONFIG',
                '--cfg-options',
                'train_dataloader.dataset.data_prefix.img=none',
                'train_dataloader.num_workers=1',
            ],
            'none/',
        ),
    ],
)
def test_user_errors_are_one_line_and_status_2(arguments, message, folder, capfd, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    Path('file').write_text('')
    arguments = [one.replace('CONFIG', str(folder / 'detector.py')) for one in arguments]
    assert run_training(arguments) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert lines[-1].startswith('error: ')
    assert 'Traceback' not in lines[-1]


def test_debug_shows_where_it_happened(monkeypatch):
    with pytest.raises(FileNotFoundError):
        run_training(['nowhere.py', '--debug'])
    monkeypatch.setenv('VLM_DENSE_DEBUG', '1')
    with pytest.raises(FileNotFoundError):
        run_testing(['nowhere.py', 'x.pth'])


def test_an_error_of_a_loaders_worker_keeps_its_sentence_only():
    text = (
        'Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1\nvlm_dense.errors.DataError: picture 3.png is\nbroken\n'
    )
    assert one_line(DataError(text)) == 'picture 3.png is broken'
    assert one_line(DataError('plain')) == 'plain'


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_the_tools_run_from_anywhere(tool, tmp_path):
    command = [sys.executable, str(TOOLS / f'{tool}.py'), 'nowhere.py', 'x.pth'][: 4 if tool == 'test' else 3]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == 'error: config nowhere.py does not exist; the recipes lie in configs/.\n'


def test_mmsegs_switch_for_several_sizes_names_ours(folder, capsys):
    assert run_testing([str(folder / 'segmentor.py'), 'any.pth', '--tta']) == 2
    message = capsys.readouterr().err
    assert message.startswith('error: --tta: ')
    assert 'model.test_cfg.scales=[0.5,1.0,1.5]' in message
