import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vlm_dense.checkpoints.open_clip_models import find_open_clip
from vlm_dense.checkpoints.preprocessing import OPENAI_MEAN, OPENAI_STD, Preprocessing, preprocessing_beside
from vlm_dense.errors import CheckpointError


def weights(folder: Path, **metadata: str) -> Path:
    save_file({'a': torch.ones(1)}, folder / 'w.safetensors', metadata=metadata or None)
    return folder / 'w.safetensors'


def test_nothing_beside(tmp_path: Path) -> None:
    assert preprocessing_beside(weights(tmp_path)) is None
    (tmp_path / 'open_clip_config.json').write_text('{"model_cfg": {}}')
    assert preprocessing_beside(weights(tmp_path)) is None


def test_open_clips_config(tmp_path: Path) -> None:
    config = {'mean': [0.5, 0.5, 0.5], 'std': [0.2, 0.3, 0.4], 'interpolation': 'bilinear', 'resize_mode': 'squash'}
    (tmp_path / 'open_clip_config.json').write_text(json.dumps({'preprocess_cfg': {**config, 'size': [256, 256]}}))
    found = preprocessing_beside(weights(tmp_path))
    assert found == Preprocessing((0.5, 0.5, 0.5), (0.2, 0.3, 0.4), 256, 'bilinear', 'squash')
    assert 'open_clip_config.json' in found.origin


def test_the_files_own_metadata_come_first(tmp_path: Path) -> None:
    (tmp_path / 'open_clip_config.json').write_text('{"preprocess_cfg": {"mean": [0, 0, 0]}}')
    path = weights(tmp_path, preprocessing=json.dumps({'mean': [0.1, 0.1, 0.1], 'size': 64}))
    assert preprocessing_beside(path) == Preprocessing(mean=(0.1, 0.1, 0.1), size=64)


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'size': 32, 'crop_size': 32},
        {'size': {'height': 48, 'width': 48}, 'crop_size': {'height': 48, 'width': 48}, 'do_center_crop': False},
        {'image_mean': [0.5, 0.4, 0.3], 'image_std': [0.2, 0.3, 0.4], 'resample': 2},
        {'do_normalize': False},
        {'rescale_factor': 1 / 127.5, 'image_mean': [1, 1, 1], 'image_std': [1, 1, 1]},
        {'do_rescale': False, 'image_mean': [100, 110, 120], 'image_std': [50, 60, 70]},
    ],
)
def test_equals_transformers_processor(tmp_path: Path, settings: dict) -> None:
    """Values of one colour go through transformers' processor and through ours."""
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(**settings)
    processor.save_pretrained(tmp_path)
    found = preprocessing_beside(weights(tmp_path))
    colour = (200, 100, 50)
    picture = Image.fromarray(np.full((60, 80, 3), colour, np.uint8))
    expected_3HW = np.asarray(processor(picture, return_tensors='np')['pixel_values'][0])
    assert expected_3HW.shape[1:] == (found.size, found.size)
    ours = (np.array(colour) / 255 - found.mean) / found.std
    np.testing.assert_allclose(expected_3HW[:, 5, 5], ours, atol=1e-4)
    assert found.resize_mode == ('squash' if settings.get('do_center_crop') is False else 'shortest')
    assert found.interpolation == ('bilinear' if settings.get('resample') == 2 else 'bicubic')


@pytest.mark.parametrize(
    'values',
    [{'mean': [1, 2]}, {'std': 'x'}, {'size': {'longest': 3}}, {'size': [3, 4]}, {'resize_mode': 'crop'}],
)
def test_values_without_sense(tmp_path: Path, values: dict) -> None:
    (tmp_path / 'open_clip_config.json').write_text(json.dumps({'preprocess_cfg': values}))
    with pytest.raises(CheckpointError, match=r'open_clip_config\.json'):
        preprocessing_beside(weights(tmp_path))


@pytest.mark.parametrize('content', ['{', '[]'])
def test_damaged_config(tmp_path: Path, content: str) -> None:
    (tmp_path / 'preprocessor_config.json').write_text(content)
    with pytest.raises(CheckpointError, match='Copy it again'):
        preprocessing_beside(weights(tmp_path))


def test_a_plain_file_says_in_the_log_what_is_taken(tmp_path: Path, log_lines) -> None:
    path = weights(tmp_path)
    found = find_open_clip('ViT-B-16', str(path)).preprocessing
    assert (found.mean, found.std, found.size) == (OPENAI_MEAN, OPENAI_STD, 224)
    found = find_open_clip('ViT-B-16-SigLIP-384', str(path)).preprocessing
    assert (found.mean, found.size, found.resize_mode) == ((0.5, 0.5, 0.5), 384, 'squash')
    assert len(log_lines) == 2
    assert all(f"'{path}' says nothing about preprocessing" in line for line in log_lines)
    assert "taking that of open_clip's 'ViT-B-16-SigLIP-384' (mean (0.5, 0.5, 0.5)" in log_lines[1]
