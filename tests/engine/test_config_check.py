"""Typing errors in configs are named with the closest right name; shipped configs pass in silence."""

from pathlib import Path

import mmdet
import mmseg
import pytest
from mmengine.config import Config
from torch import nn

from vlm_dense.engine import build_runner, check_config, check_options, config_check, read_config
from vlm_dense.engine.accepted_keys import accepted_keys
from vlm_dense.errors import ConfigError

MMDET = Path(mmdet.__file__).parent / '.mim/configs'
MMSEG = Path(mmseg.__file__).parent / '.mim/configs'
SHIPPED = [
    MMDET / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    MMDET / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    MMDET / 'yolox/yolox_s_8xb8-300e_coco.py',
    MMDET / 'glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py',
    MMDET / 'grounding_dino/grounding_dino_swin-t_finetune_16xb2_1x_coco.py',
    MMDET / 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    MMDET / 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    MMDET / 'fpg/faster-rcnn_r50_fpg_crop640-50e_coco.py',
    MMDET / 'albu_example/mask-rcnn_r50_fpn_albu-1x_coco.py',
    MMDET / 'vfnet/vfnet_r50_fpn_1x_coco.py',
    MMSEG / 'fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py',
    MMSEG / 'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py',
    MMSEG / 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    MMSEG / 'segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512.py',
    MMSEG / 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py',
]
OWN = sorted((Path(__file__).parents[2] / 'configs').glob('*.py'))


@pytest.fixture
def said(monkeypatch):
    """What the check logs."""
    lines = []
    monkeypatch.setattr(config_check, 'print_log', lambda text, **_: lines.append(text))
    return lines


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_pass_in_silence(path, said, capsys):
    check_config(Config.fromfile(path, import_custom_modules=False))
    assert (said, *capsys.readouterr()) == ([], '', '')


@pytest.mark.parametrize('path', OWN, ids=lambda path: path.stem)
def test_own_recipes_pass_in_silence(path, said, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parents[1]))
    check_config(Config.fromfile(path))
    assert (said, *capsys.readouterr()) == ([], '', '')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'model.roi_head.bbox_head.classifier.type': 'vlm_dense.EmbeddingClasifier'},
            "unknown type 'vlm_dense.EmbeddingClasifier' in model.roi_head.bbox_head.classifier; "
            "did you mean 'vlm_dense.EmbeddingClassifier'? (FILE)",
        ),
        ({'model.neck.type': 'FPNN'}, "unknown type 'FPNN' in model.neck; did you mean 'FPN'? (FILE)"),
        (
            {'val_evaluator.type': 'BaseNovelBoxMetric'},
            "unknown type 'BaseNovelBoxMetric' in val_evaluator; did you mean 'vlm_dense.BaseNovelBoxMetric'? (FILE)",
        ),
        (
            {'model.backbone.type': 'nowhere.ResNet'},
            "type 'nowhere.ResNet' in model.backbone needs the package 'nowhere'; install it (FILE)",
        ),
        (
            {'model.backbone.type': 'Qwxyzzy'},
            "unknown type 'Qwxyzzy' in model.backbone; check the spelling, or add its module to custom_imports (FILE)",
        ),
        (
            {'model.test_cfg.rcnn.nms.type': 'sof_nms'},
            "unknown type 'sof_nms' in model.test_cfg.rcnn.nms; did you mean 'soft_nms'? (FILE)",
        ),
        (
            {'model.neck.num_out': 3},
            "'FPN' in model.neck has no setting 'num_out'; did you mean 'num_outs'? (FILE)",
        ),
        (
            {'model.train_cfg.rcnn.sampler.pos_fracton': 0.5},
            "'EvenSampler' in model.train_cfg.rcnn.sampler has no setting 'pos_fracton'; "
            "did you mean 'pos_fraction'? (FILE)",
        ),
        (
            {'train_dataloader.batch_sise': 2},
            "'train_dataloader' in train_dataloader has no setting 'batch_sise'; did you mean 'batch_size'? (FILE)",
        ),
        (
            {'test_dataloader.dataset.pipeline.2.scael': (3, 3)},
            "'Resize' in test_dataloader.dataset.pipeline[2] has no setting 'scael'; did you mean 'scale'? (FILE)",
        ),
        (
            {'optim_wrapper.clip_gard': {}},
            "'OptimWrapper' in optim_wrapper has no setting 'clip_gard'; did you mean 'clip_grad'? (FILE)",
        ),
        (
            {'default_hooks.checkpiont': dict(type='CheckpointHook')},
            "'default_hooks' in default_hooks has no setting 'checkpiont'; did you mean 'checkpoint'? (FILE)",
        ),
        ({'moddel': {}}, "nothing reads 'moddel'; did you mean 'model'? (FILE)"),
    ],
)
def test_errors_name_place_and_remedy(options, message, pictures):
    path = str(pictures / 'detector.py')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    assert str(caught.value) == message.replace('FILE', path)
    cfg.config_check = False
    check_config(cfg)


def test_unread_top_level_keys_are_listed(pictures, tmp_path, said):
    base = tmp_path / 'base.py'
    base.write_text('from_base = 1\nread_by_child = 2\nread_by_braces = 3\n')
    child = tmp_path / 'child.py'
    child.write_text(
        f"_base_ = ['{pictures}/detector.py', './base.py']\n"
        "forgotten = 'x'\nhelper = 5\ntrain_cfg = dict(max_iters=helper + _base_.read_by_child)\n"
        'val_cfg = dict(fp16={{_base_.read_by_braces}} == 2)\n'
    )
    check_config(Config.fromfile(child))
    assert len(said) == 1
    assert "nothing reads 'from_base', 'forgotten'; remove what is left over" in said[0]


def test_importable_configs(pictures, tmp_path, said):
    (tmp_path / 'base_runtime.py').write_text('interval = 3\nspare = 4\n')
    child = tmp_path / 'child.py'
    child.write_text(
        'from mmengine.config import read_base\nfrom mmengine.hooks import CheckpointHook\n'
        'with read_base():\n    from .base_runtime import *\n'
        "default_scope = 'mmdet'\n"
        'default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=interval, save_lats=True))\n'
    )
    cfg = Config.fromfile(child)
    # CheckpointHook keeps other arguments for the runner, so nothing can be said about this one.
    check_config(cfg)
    assert "nothing reads 'spare';" in said.pop()
    child.write_text(child.read_text().replace('CheckpointHook', 'IterTimerHook'))
    with pytest.raises(ConfigError, match=r"'IterTimerHook' in default_hooks\.checkpoint has no setting 'interval'"):
        check_config(Config.fromfile(child))


def test_a_config_that_mmengine_wrote_passes(pictures, tmp_path, said):
    source = tmp_path / 'to_write.py'
    source.write_text((pictures / 'detector.py').read_text())
    cfg = read_config(str(source))
    cfg.work_dir = str(tmp_path / 'run')
    build_runner(cfg)
    written = read_config(str(tmp_path / 'run' / 'to_write.py'))
    assert written.train_cfg == cfg.train_cfg
    check_config(written)
    assert said == []


def test_overrides_that_come_too_late():
    check_options({'model.neck.num_outs': 3, 'randomness': {}})
    with pytest.raises(ConfigError, match=r"'data_root'.*train_dataloader\.dataset\.data_root"):
        check_options({'data_root': 'x'})
    with pytest.raises(ConfigError, match="did you mean 'train_cfg'"):
        check_options({'train_cgf.max_iters': 3})


class Base:
    def __init__(self, width, depth=1):
        pass


class Passes(Base):
    def __init__(self, height, **kwargs):
        kwargs.pop('popped', None)
        super().__init__(depth=2, **kwargs)


class Ignores(Base):
    def __init__(self, height, **kwargs):
        super().__init__(1)
        self.rng = kwargs.get('rng')


class Keeps(Base):
    def __init__(self, height, **kwargs):
        self.kept = kwargs


class Skips(Passes):
    def __init__(self, **kwargs):
        super(Passes, self).__init__(**kwargs)


class Layer(nn.Module):
    def __init__(self, channels, *args, **kwargs):
        super().__init__(*args, **kwargs)


def function(a, /, b, *args, c):
    pass


@pytest.mark.parametrize(
    ('builder', 'names', 'others'),
    [
        (Base, {'width', 'depth'}, 'raise'),
        (Passes, {'height', 'width', 'popped'}, 'raise'),
        (Ignores, {'height', 'rng'}, 'ignored'),
        (Keeps, {'height'}, 'meant'),
        (Skips, set(), 'meant'),
        (Layer, {'channels'}, 'raise'),
        (function, {'b', 'c'}, 'raise'),
        (print, {'sep', 'end', 'file', 'flush'}, 'raise'),
    ],
)
def test_accepted_keys(builder, names, others):
    accepted = accepted_keys(builder)
    assert (accepted.names, accepted.others) == (names, others)


def test_a_config_that_was_written_out_keeps_its_helper_variables(tmp_path):
    path = tmp_path / 'written.py'
    path.write_text("default_scope = 'mmdet'\ntest_pipeline = [dict(type='LoadImageFromFile')]\n")
    check_config(read_config(str(path)))
    path.write_text("default_scope = 'mmdet'\ntta_pipelin = [dict(type='LoadImageFromFile')]\n")
    with pytest.raises(ConfigError, match="did you mean 'tta_pipeline'"):
        check_config(read_config(str(path)))
