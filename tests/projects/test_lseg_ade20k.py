"""The full-size LSeg recipe, shrunk, on a made-up folder in ADE20K's layout."""

import runpy
from pathlib import Path

import mmseg
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from recipe_data import write_ade20k_data
from recipes import CONFIGS, tiny_recipe

from vlm_dense.engine.protocol_runs import set_protocol
from vlm_dense.errors import MissingFileError
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

NAME = 'lseg_vit_l16_ade20k.py'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return tiny_recipe(NAME, tmp_path)


def test_absent_data_gives_one_message(config: Config, tmp_path: Path) -> None:
    config.train_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    with pytest.raises(MissingFileError, match=r'nowhere.*unpack ADEChallengeData2016\.zip'):
        DATASETS.build(config.train_dataloader.dataset)


def test_shrunk_recipe_steps_and_predicts(config: Config, tmp_path: Path) -> None:
    write_ade20k_data(tmp_path)
    model = MODELS.build(config.model)
    model.init_weights()
    train_set = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([train_set[0], train_set[1]])
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.train()
    # The second call completes an accumulated step.
    first, second = model.train_step(batch, optimizer), model.train_step(batch, optimizer)
    assert first['loss'].isfinite()
    assert second['loss'].isfinite()
    assert not torch.equal(
        before['backbone.tower.trunk.patch_embed.proj.weight'], model.backbone.tower.trunk.patch_embed.proj.weight
    )
    assert not torch.equal(before['decode_head.refine.conv.weight'], model.decode_head.refine.conv.weight)

    model.eval()
    validation_set = DATASETS.build(config.val_dataloader.dataset)
    sample = validation_set[0]
    assert int(sample['data_samples'].gt_sem_seg.data[sample['data_samples'].gt_sem_seg.data != 255].max()) < 150
    (found,) = model.test_step(pseudo_collate([sample]))
    assert found.pred_sem_seg.data.shape == (1, 110, 130)
    assert found.vocabulary.words[0] == 'wall'
    assert not [name for name in model.state_dict() if 'text' in name or 'scale' in name]


def test_rates_follow_the_authors(config: Config) -> None:
    model = MODELS.build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    rate_of = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        slow = name.startswith('backbone') or name.startswith('decode_head.reassemble')
        assert rate_of[id(parameter)] == pytest.approx(0.001 if slow else 0.01), name


def test_words_are_those_of_the_label_maps(config: Config) -> None:
    from mmseg.datasets import ADE20KDataset

    words = Vocabulary.build(config.train_dataloader.dataset.pipeline[-1].vocabulary).words
    assert words == tuple(word.strip() for word in ADE20KDataset.METAINFO['classes'])


def test_backbone_is_the_published_network() -> None:
    """Without numbers: 300 million parameters need not be made."""
    settings = Config.fromfile(CONFIGS / NAME).model.backbone
    with torch.device('meta'):
        published = timm.create_model('vit_large_patch16_384')
        backbone = MODELS.build({**settings, 'tower': {**settings.tower, 'pretrained': None}})
    assert (len(published.blocks), published.embed_dim) == (24, 1024)
    assert backbone.tower.taps == (5, 11, 17, 23)
    # The taps come before the final norm.
    left_out = ('norm.', 'head.')
    expected = {name: w.shape for name, w in published.state_dict().items() if not name.startswith(left_out)}
    found = {name.removeprefix('tower.trunk.'): w.shape for name, w in backbone.state_dict().items()}
    assert found == expected
    assert all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize('size', [(160, 160), (192, 240)])
def test_backbone_reads_timms_file_and_equals_mmsegs(tmp_path: Path, size: tuple[int, int]) -> None:
    """mmseg's ViT, filled through mmseg's converter: same taps, same class tokens, at larger crops too."""
    small = 'test_vit'  # 6 blocks, width 64, pictures of 160 pixels
    theirs = timm.create_model(small)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(theirs.state_dict(), tmp_path / 'timm.pth')
    settings = Config.fromfile(CONFIGS / NAME).model.backbone
    settings.tower.update(name=small, pretrained=str(tmp_path / 'timm.pth'), taps=(0, 1, 3, 5))
    backbone = MODELS.build(settings)
    init_default_scope('mmseg')
    sizes = dict(img_size=(160, 160), embed_dims=64, num_layers=6, num_heads=2, mlp_ratio=3, out_indices=(0, 1, 3, 5))
    norm = dict(type='LN', eps=1e-6)
    reference = MODELS.build(
        dict(
            type='VisionTransformer',
            patch_bias=True,
            output_cls_token=True,
            norm_cfg=norm,
            interpolate_mode='bilinear',
            **sizes,
        )
    )
    reference.eval()  # mmseg's returns None
    converter = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'model_converters' / 'vit2mmseg.py'
    weights = runpy.run_path(str(converter))['convert_vit'](theirs.state_dict())
    missing, unexpected = reference.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == ([], ['ln1.weight', 'ln1.bias'])
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        for found, expected in zip(backbone.eval()(images), reference(images), strict=True):
            torch.testing.assert_close(found, tuple(expected), atol=1e-4, rtol=1e-4)


def test_by_protocol_the_words_of_training_are_seen(config: Config, tmp_path: Path) -> None:
    write_ade20k_data(tmp_path)
    set_protocol(config, find_protocol('ade20k_150'), out=str(tmp_path), root=str(tmp_path / 'data'))
    (part,) = config.test_cfg.parts
    sample = DATASETS.build(part.dataset)[0]['data_samples']
    assert len(sample.vocabulary) == 150
    assert all(sample.vocabulary.is_base)
