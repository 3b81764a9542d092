"""Normalised batches become their pictures again."""

from typing import Any

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

from vlm_dense.models.pictures import pictures_of

COLOURS = dict(mean=[122.8, 116.7, 104.1], std=[68.5, 66.6, 70.3])


@pytest.mark.parametrize('settings', [{}, dict(bgr_to_rgb=True), COLOURS, dict(COLOURS, bgr_to_rgb=True)])
@pytest.mark.parametrize('kinds', [(DetDataPreprocessor, DetDataSample), (SegDataPreProcessor, SegDataSample)])
def test_batches_of_mmdet_and_mmseg_are_undone(kinds: tuple[Any, Any], settings: dict[str, Any]) -> None:
    """Pictures are loaded as BGR; models are given one order or the other."""
    picture_bgr = torch.randint(0, 256, (3, 8, 12), dtype=torch.uint8)
    make, sample = kinds
    preprocessor = make(**settings)
    sample = sample(metainfo=dict(img_shape=(8, 12)))
    batch = preprocessor({'inputs': [picture_bgr], 'data_samples': [sample]}, training=False)
    found = pictures_of(batch['inputs'].float(), preprocessor)
    torch.testing.assert_close(found[0], picture_bgr.flip(0).float(), rtol=0, atol=1e-3)
