"""A user's config may inherit from mmdet's and mmseg's own."""

from pathlib import Path

import pytest

from vlm_dense.engine import check_config, read_config


@pytest.mark.parametrize(
    ('base', 'model'),
    [
        ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'FasterRCNN'),
        ('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'EncoderDecoder'),
    ],
)
@pytest.mark.filterwarnings('ignore:pkg_resources is deprecated')
def test_config_inherits_from_another_package(base: str, model: str, tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(f"_base_ = '{base}'\n")
    config = read_config(str(tmp_path / 'mine.py'))
    assert config.model.type == model
    check_config(config)
