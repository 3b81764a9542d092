"""Tiny open_clip models, the packaged tower, and real photographs from scikit-image's wheel."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

TINY_MODELS = {
    'vlm-dense-tower-vit': {
        'vision_cfg': {'image_size': 48, 'layers': 2, 'width': 64, 'patch_size': 16},
    },
    'vlm-dense-tower-resnet': {
        'vision_cfg': {'image_size': 64, 'layers': [1, 1, 1, 1], 'width': 16, 'head_width': 16},
    },
    'vlm-dense-tower-timm': {
        'vision_cfg': {'timm_model_name': 'test_byobnet', 'timm_pool': '', 'timm_proj': 'linear', 'image_size': 64},
    },
}


@pytest.fixture(scope='session')
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kind to architecture name: 'vit', 'resnet' and 'timm'."""
    import open_clip

    folder: Path = tmp_path_factory.mktemp('open_clip')
    text_cfg = {'context_length': 8, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 1}
    for name, config in TINY_MODELS.items():
        (folder / f'{name}.json').write_text(json.dumps({'embed_dim': 32, 'text_cfg': text_cfg, **config}))
    open_clip.add_model_config(folder)
    return {name.rsplit('-', 1)[-1]: name for name in TINY_MODELS}


@pytest.fixture(scope='session')
def photographs() -> dict[str, torch.Tensor]:
    """(1, 3, 224, 224) each, normalised as `ImageNetTower` wants it."""
    from skimage import data

    pictures = {'cat': data.cat(), 'coffee cup': data.coffee(), 'rocket': data.rocket()}
    return {word: _prepared(picture) for word, picture in pictures.items()}


def _prepared(picture: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    return F.interpolate(pixels.sub(127.5).div(127.5), (224, 224), mode='bilinear', antialias=True)
