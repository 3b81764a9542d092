"""Tiny open_clip models, the packaged tower, and real photographs from scikit-image's wheel."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from vlm_dense.vlms import OpenClipTower

VIT = {'image_size': 48, 'layers': 4, 'width': 64, 'patch_size': 16, 'head_width': 16}
TIMM = {'timm_pool': '', 'timm_proj': 'linear', 'image_size': 64}
TINY_MODELS = {
    'vlm-dense-tower-vit': {'vision_cfg': VIT},
    'vlm-dense-tower-vit-quickgelu': {'vision_cfg': VIT, 'quick_gelu': True},
    'vlm-dense-tower-scaled': {'vision_cfg': {**VIT, 'ls_init_value': 0.5}},
    'vlm-dense-tower-coca': {'vision_cfg': {**VIT, 'attentional_pool': True, 'attn_pooler_heads': 4}},
    'vlm-dense-tower-custom': {'vision_cfg': {**VIT, 'block_type': 'custom', 'qk_norm': True}},
    'vlm-dense-tower-resnet': {
        'vision_cfg': {'image_size': 64, 'layers': [1, 1, 1, 1], 'width': 16, 'head_width': 16},
    },
    'vlm-dense-tower-deepresnet': {
        'vision_cfg': {'image_size': 64, 'layers': [1, 1, 2, 3], 'width': 16, 'head_width': 16},
    },
    'vlm-dense-tower-timm': {'vision_cfg': {'timm_model_name': 'test_byobnet', **TIMM}},
    'vlm-dense-tower-convnext': {'vision_cfg': {'timm_model_name': 'test_convnext', **TIMM}},
    'vlm-dense-tower-convnextmlp': {'vision_cfg': {'timm_model_name': 'test_convnext', **TIMM, 'timm_proj': 'mlp'}},
    'vlm-dense-tower-rotating': {
        'vision_cfg': {'timm_model_name': 'test_byobnet', **TIMM, 'timm_pool': 'rot_attn', 'timm_proj': ''},
    },
    'vlm-dense-tower-timmvit': {'vision_cfg': {'timm_model_name': 'test_vit', **TIMM, 'image_size': 160}},
    'vlm-dense-tower-averaging': {'vision_cfg': {'timm_model_name': 'test_vit2', **TIMM, 'image_size': 160}},
    'vlm-dense-tower-eva': {
        'vision_cfg': {'timm_model_name': 'vlm_dense_tiny_eva', 'timm_pool': 'token', 'timm_proj': '', 'image_size': 64}
    },
    'vlm-dense-tower-siglip': {
        'vision_cfg': {
            'timm_model_name': 'vlm_dense_tiny_siglip', 'timm_pool': 'map', 'timm_proj': 'none', 'image_size': 64
        },
    },
    'vlm-dense-tower-maximum': {
        'vision_cfg': {'timm_model_name': 'test_vit2', **TIMM, 'timm_pool': 'max', 'image_size': 160}
    },
    'vlm-dense-tower-swin': {
        'vision_cfg': {'timm_model_name': 'vlm_dense_tiny_swin', 'timm_pool': 'avg', 'timm_proj': '', 'image_size': 64}
    },
}  # fmt: skip
TINY_VIT = {'img_size': 64, 'patch_size': 16, 'embed_dim': 32, 'depth': 4, 'num_heads': 2}
TIMM_KEYS = ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir')


def made(kind: Callable[..., Any], settings: dict[str, Any]) -> Any:
    model = kind(**{key: value for key, value in settings.items() if key not in TIMM_KEYS})
    model.default_cfg = model.pretrained_cfg = {}
    return model


@timm.models.register_model
def vlm_dense_tiny_eva(pretrained: bool = False, **settings: Any) -> Eva:
    """As ``eva02_base_patch16_clip_224`` but for its size; the reference grid is not the native one."""
    parts = {'qkv_fused': False, 'mlp_ratio': 2.667, 'swiglu_mlp': True, 'scale_mlp': True, 'scale_attn_inner': True}
    return made(Eva, {**TINY_VIT, **parts, 'use_rot_pos_emb': True, 'ref_feat_shape': (3, 3), **settings})


@timm.models.register_model
def vlm_dense_tiny_siglip(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """As ``vit_base_patch16_siglip_224`` but for its size."""
    return made(VisionTransformer, {**TINY_VIT, 'class_token': False, **settings})


@timm.models.register_model
def vlm_dense_tiny_swin(pretrained: bool = False, **settings: Any) -> timm.models.SwinTransformer:
    """Four stages, for pictures of one size."""
    sizes = {'img_size': 64, 'embed_dim': 8, 'depths': (1, 1, 1, 1), 'num_heads': (1, 1, 1, 1), 'window_size': 2}
    return made(timm.models.SwinTransformer, {**sizes, **settings})


@pytest.fixture(scope='session')
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kind, the last part of the name, to architecture name."""
    import open_clip

    folder: Path = tmp_path_factory.mktemp('open_clip')
    text_cfg = {'context_length': 8, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 1}
    for name, config in TINY_MODELS.items():
        (folder / f'{name}.json').write_text(json.dumps({'embed_dim': 32, 'text_cfg': text_cfg, **config}))
    open_clip.add_model_config(folder)
    return {name.rsplit('-', 1)[-1]: name for name in TINY_MODELS}


@pytest.fixture
def tower_of(tiny_models: dict[str, str]) -> Callable[..., OpenClipTower]:
    """Builds a tower of a kind whose weights are far from their initial zeros, ones and near-zeros."""

    def build(kind: str, **settings: Any) -> OpenClipTower:
        tower = OpenClipTower(tiny_models[kind], **settings)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in tower.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return tower

    return build


@pytest.fixture(scope='session')
def photographs() -> dict[str, torch.Tensor]:
    """(1, 3, 224, 224) each, normalised as `ImageNetTower` wants it."""
    from skimage import data

    pictures = {'cat': data.cat(), 'coffee cup': data.coffee(), 'rocket': data.rocket()}
    return {word: _prepared(picture) for word, picture in pictures.items()}


def _prepared(picture: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    return F.interpolate(pixels.sub(127.5).div(127.5), (224, 224), mode='bilinear', antialias=True)
