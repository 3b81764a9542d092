"""The demo's own logic: figures and their table, steps that fail, recipes on open_clip models."""

import json
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from recipes import CONFIGS, ROOT, move

from vlm_dense.engine import check_config
from vlm_dense.errors import ConfigError
from vlm_dense.registry import DATASETS, MODELS

sys.path.insert(0, str(ROOT / 'tools'))
from demo_parts.controls import Measured, Method
from demo_parts.recipes import recipes
from demo_parts.report import as_results, as_table, as_text
from demo_parts.reuse import Finished
from demo_parts.steps import Progress, StepError, run_step

PICTURES = dict(words=['ant', 'bee', 'cow', 'dog'], base=['ant', 'bee'], known=['ant', 'cow'], source='drawn', seed=3)
DETECTION = Method('ViLD', 'configs/vild_lite0_pictures.py', ('novel_ap50', 'base_ap50'), ('bbox', 'ap50'))
SEGMENTATION = Method('FC-CLIP', 'configs/fcclip_lite0_pictures.py', ('unseen_miou', 'seen_miou'), (None, 'iou'))


def measured(method: Method, column: str, nested: bool) -> Measured:
    rows = [
        dict(word=word, is_base=word in PICTURES['base'], **{column: value})
        for word, value in zip(PICTURES['words'], (90.0, 80.0, 40.0, None), strict=True)
    ]
    found = Measured(method, method.config, Path('x.pth'))
    for kind, novel, base in (('words', 40.0, 85.0), ('shuffled', 2.0, 84.0), ('closed', 0.0, 88.0)):
        figures = dict(zip(method.novel_and_base, (novel, base), strict=True))
        found.reports[kind] = dict(figures=figures, per_word={'bbox': rows} if nested else rows)
    return found


def test_results_hold_the_figures_and_their_controls() -> None:
    results = as_results(
        measured(DETECTION, 'ap50', True), measured(SEGMENTATION, 'iou', False), PICTURES, None, seconds=61.04
    )
    assert results['detection'] == dict(
        method='ViLD',
        novel_ap50=40.0,
        base_ap50=85.0,
        novel_ap50_known=40.0,
        novel_ap50_unknown=None,
        novel_ap50_shuffled=2.0,
        base_ap50_shuffled=84.0,
        novel_ap50_closed_set=0.0,
        base_ap50_closed_set=88.0,
    )
    assert results['segmentation']['unseen_miou'] == 40.0
    assert results['segmentation']['unseen_miou_shuffled'] == 2.0
    assert (results['pictures'], results['seconds'], results['seed']) == ('drawn', 61.0, 3)
    assert json.loads(json.dumps(results)) == results
    text = as_text(as_table(results)).splitlines()
    assert len({len(line) for line in text}) == 1
    assert text[0].split('  ')[-1] == 'FC-CLIP seen mIoU'
    assert text[2].split()[-4:] == ['40.0', '85.0', '40.0', '85.0']
    assert text[4].split()[-4:] == ['-', '-', '-', '-']


def test_failing_step_tells_its_last_lines_and_its_log(tmp_path: Path) -> None:
    command = [sys.executable, '-c', 'print("Iter(train) [ 1/4]"); print("no such word"); raise SystemExit(3)']
    with Progress() as progress, pytest.raises(StepError, match=r'no such word') as caught:
        run_step('train x', command, tmp_path / 'x.log', 'ViLD', progress)
    assert 'x.log' in str(caught.value)
    assert 'no such word' in (tmp_path / 'x.log').read_text()


def test_progress_without_a_terminal_is_told_in_quarters(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    steps = '; '.join(f'print("Epoch(test) [{done}/8]")' for done in range(1, 9))
    with Progress() as progress:
        run_step('test x', [sys.executable, '-c', steps], tmp_path / 'x.log', 'FC-CLIP', progress)
    assert capsys.readouterr().out.splitlines() == [f'FC-CLIP: test x {done}/8' for done in (1, 2, 4, 6, 8)]


@pytest.mark.parametrize('vlm', ['ViT-B-32', ':openai', 'no-such-model:openai'])
def test_models_that_open_clip_does_not_have(vlm: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='--vlm'):
        recipes('configs/vild_lite0_pictures.py', vlm, tmp_path)


@pytest.mark.parametrize('name', ['vild_lite0_pictures.py', 'fcclip_lite0_pictures.py'])
def test_recipes_on_an_open_clip_model_step_and_predict(
    name: str, tmp_path: Path, pictures_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small architecture of open_clip's own kind with random weights in a file, as --vlm NAME:FILE takes them."""
    settings = dict(
        embed_dim=24,
        vision_cfg=dict(image_size=32, layers=1, width=32, head_width=16, patch_size=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1),
    )
    (tmp_path / 'tiny-clip.json').write_text(json.dumps(settings))
    open_clip.add_model_config(tmp_path / 'tiny-clip.json')
    torch.save(open_clip.create_model('tiny-clip').state_dict(), tmp_path / 'tiny.pt')
    monkeypatch.chdir(pictures_root)
    for path in recipes(str(CONFIGS / name), f'tiny-clip:{tmp_path / "tiny.pt"}', tmp_path).values():
        config = Config.fromfile(path)
        move(config._cfg_dict, pictures_root)
        init_default_scope(config.default_scope)
        check_config(config)
        model = MODELS.build(config.model)
        model.init_weights()
        assert model.text_bank.embed_dim == 24
        train_set = DATASETS.build(config.train_dataloader.dataset)
        batch = model.data_preprocessor(pseudo_collate([train_set[0], train_set[1]]), True)
        total, _ = model.parse_losses(model.loss(batch['inputs'], batch['data_samples']))
        assert torch.isfinite(total)
        with torch.no_grad():
            (found,) = model.eval().test_step(pseudo_collate([DATASETS.build(config.test_dataloader.dataset)[0]]))
        assert 'pred_instances' in found or 'pred_sem_seg' in found


def test_a_step_is_done_once_for_the_same_inputs(tmp_path):
    output, given = tmp_path / 'report.json', tmp_path / 'config.py'
    given.write_text('a = 1')
    command = ['tools/test.py', str(given)]
    assert not Finished(tmp_path).is_done('test x', command, [given], output)
    output.write_text('{}')
    Finished(tmp_path).keep('test x', command, [given], output)
    again = Finished(tmp_path)
    assert again.is_done('test x', command, [given], output)
    assert again.count == 1
    assert not Finished(tmp_path, fresh=True).is_done('test x', command, [given], output)
    assert not again.is_done('test x', [*command, '--seed'], [given], output)
    for changed in (given, output):
        before = changed.read_text()
        changed.write_text('changed')
        assert not again.is_done('test x', command, [given], output)
        changed.write_text(before)
    output.unlink()
    assert not again.is_done('test x', command, [given], output)


def test_a_step_is_done_again_with_other_pictures_in_the_same_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture, output = tmp_path / 'data/pictures/test/1.png', tmp_path / 'report.json'
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b'scene of seed 0')
    output.write_text('{}')
    Finished(tmp_path).keep('test x', ['tools/test.py'], [], output)
    assert Finished(tmp_path).is_done('test x', ['tools/test.py'], [], output)
    picture.write_bytes(b'scene of seed 1')
    assert not Finished(tmp_path).is_done('test x', ['tools/test.py'], [], output)
