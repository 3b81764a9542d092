"""What the command line changes in a config."""

import json

import pytest
from mmengine.config import Config

from vlm_dense.engine import settings
from vlm_dense.engine.settings import read_config
from vlm_dense.errors import ConfigError, MissingFileError, VocabularyError


@pytest.fixture
def detector(pictures):
    return read_config(str(pictures / 'detector.py'))


@pytest.fixture
def segmentor(pictures):
    return read_config(str(pictures / 'segmentor.py'))


def asked_words(cfg, loop='test'):
    return cfg[f'{loop}_dataloader'].dataset.pipeline[-1].vocabulary


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        ("_base_ = './nowhere.py'", MissingFileError, r'bad\.py: .*nowhere\.py'),
        ('a = ', ConfigError, r'bad\.py cannot be read: SyntaxError'),
        ('a = b', ConfigError, r"bad\.py cannot be read: NameError: name 'b'"),
        ("custom_imports = dict(imports=['no_such'])", ConfigError, r'bad\.py cannot be read: ImportError.*no_such'),
    ],
)
def test_a_config_that_cannot_be_read(text, error, message, tmp_path):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(error, match=message) as caught:
        read_config(str(tmp_path / 'bad.py'))
    assert '\n' not in str(caught.value)


def test_a_config_that_is_not_there():
    with pytest.raises(MissingFileError, match=r'config none\.py does not exist; the recipes lie in configs/'):
        read_config('none.py')


def test_overrides(pictures):
    cfg = read_config(str(pictures / 'detector.py'), {'train_cfg.max_iters': 3})
    assert cfg.train_cfg.max_iters == 3
    with pytest.raises(ConfigError, match='--cfg-options'):
        read_config(str(pictures / 'detector.py'), {'data_root': 'elsewhere'})


def test_work_dir(detector):
    settings.set_work_dir(detector, None, 'a/b/vild.py')
    assert detector.work_dir == 'work_dirs/vild'
    settings.set_work_dir(detector, None, 'other.py')
    assert detector.work_dir == 'work_dirs/vild'
    settings.set_work_dir(detector, 'here', 'other.py')
    assert detector.work_dir == 'here'


def test_loops_must_be_whole(detector):
    settings.check_sections(detector, 'train')
    detector.val_evaluator = None
    with pytest.raises(ConfigError, match=r'detector\.py lacks val_evaluator, without which it cannot val'):
        settings.check_sections(detector, 'train')
    only_model = Config(dict(model={}))
    with pytest.raises(ConfigError, match='lacks test_dataloader and test_cfg and test_evaluator'):
        settings.check_sections(only_model, 'test')


def test_amp(detector, monkeypatch):
    monkeypatch.setattr(settings, 'has_accelerator', lambda: False)
    with pytest.raises(ConfigError, match=r'needs a GPU.*--amp bfloat16'):
        settings.set_amp(detector, 'float16')
    monkeypatch.setattr(settings, 'has_accelerator', lambda: True)
    settings.set_amp(detector, 'float16')
    assert (detector.optim_wrapper.type, detector.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    settings.set_amp(detector, 'bfloat16')
    assert detector.optim_wrapper.type == 'vlm_dense.Bfloat16OptimWrapper'
    assert 'loss_scale' not in detector.optim_wrapper
    detector.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ConfigError, match='ApexOptimWrapper'):
        settings.set_amp(detector, 'float16')


def test_auto_scale_lr(detector):
    with pytest.raises(ConfigError, match='auto_scale_lr = dict'):
        settings.set_auto_scale_lr(detector)
    detector.auto_scale_lr = dict(enable=False, base_batch_size=16)
    settings.set_auto_scale_lr(detector)
    assert detector.auto_scale_lr.enable is True


def test_resume(detector):
    settings.set_resume(detector, None)
    assert 'resume' not in detector
    settings.set_resume(detector, 'auto')
    assert (detector.resume, detector.load_from) == (True, None)
    settings.set_resume(detector, 'x.pth')
    assert (detector.resume, detector.load_from) == (True, 'x.pth')


def test_drawing(detector, segmentor):
    settings.set_drawing(detector, False, None, 2)
    with pytest.raises(ConfigError, match=r'default_hooks\.visualization'):
        settings.set_drawing(detector, True, None, 2)
    detector.default_hooks.visualization = dict(type='DetVisualizationHook')
    settings.set_drawing(detector, True, 'drawn', 3)
    hook = detector.default_hooks.visualization
    assert (hook.draw, hook.show, hook.wait_time, hook.test_out_dir) == (True, True, 3, 'drawn')
    segmentor.default_hooks.visualization = dict(type='mmseg.SegVisualizationHook')
    settings.set_drawing(segmentor, False, 'drawn', 3)
    assert segmentor.default_hooks.visualization.interval == 1
    assert segmentor.visualizer.save_dir == 'drawn'


def test_vocabulary_keeps_base_flags_by_name(detector, tmp_path):
    path = tmp_path / 'words.txt'
    path.write_text('blue box\nzebra\nRED BOX\ngreen box\n')
    settings.set_vocabulary(detector, str(path))
    words = dict(words=['blue box', 'zebra', 'RED BOX', 'green box'], base=['RED BOX', 'green box'])
    assert asked_words(detector) == words
    assert asked_words(detector, 'train').words == ['red box', 'green box', 'blue box']


def test_vocabulary_own_flags_count_too(segmentor, tmp_path):
    path = tmp_path / 'words.json'
    path.write_text(json.dumps(dict(words=['blue box', 'red box', 'green box', 'zebra'], base=['zebra'])))
    settings.set_vocabulary(segmentor, str(path))
    assert asked_words(segmentor).base == ['red box', 'green box', 'zebra']
    # The labels of the truth still mean the config's words.
    assert segmentor.test_evaluator.words == ['red box', 'green box', 'blue box']


def test_vocabulary_errors(detector, tmp_path):
    with pytest.raises(MissingFileError, match=r'none\.txt'):
        settings.set_vocabulary(detector, str(tmp_path / 'none.txt'))
    (tmp_path / 'twice.txt').write_text('cat\ncat\n')
    with pytest.raises(VocabularyError, match=r'twice\.txt'):
        settings.set_vocabulary(detector, str(tmp_path / 'twice.txt'))
    detector.test_dataloader.dataset.pipeline.pop()
    with pytest.raises(ConfigError, match='AttachVocabulary'):
        settings.set_vocabulary(detector, str(tmp_path / 'twice.txt'))


def test_vocabulary_of_wrapped_data_sets(detector, tmp_path):
    (tmp_path / 'words.txt').write_text('cat\n')
    inner = detector.test_dataloader.dataset
    detector.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', dataset=inner)])
    settings.set_vocabulary(detector, str(tmp_path / 'words.txt'))
    wrapped = detector.test_dataloader.dataset.datasets[0].dataset
    assert wrapped.pipeline[-1].vocabulary.words == ['cat']


def test_predictions_file(detector, segmentor, pictures):
    settings.add_predictions_file(detector, 'out.json')
    first, second = detector.test_evaluator
    assert first.type == 'vlm_dense.BaseNovelBoxMetric'
    assert second == dict(type='vlm_dense.WritePredictions', out_file='out.json', ann_file=first.ann_file)
    segmentor.test_evaluator = dict(type='Evaluator', metrics=[segmentor.test_evaluator])
    settings.add_predictions_file(segmentor, 'out.json')
    assert [metric.type for metric in segmentor.test_evaluator] == [
        'vlm_dense.SeenUnseenIoUMetric',
        'vlm_dense.WritePredictions',
    ]
