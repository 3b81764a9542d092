"""A class numbered 255 and ignored pixels, from the file through padding, loss and metric to the drawing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.visualization import SegLocalVisualizer
from PIL import Image
from segmentation_parts import tiny_segmentor
from torch.nn import functional

from vlm_dense.datasets import VocabularySegDataset
from vlm_dense.errors import ConfigError
from vlm_dense.evaluation import SeenUnseenIoUMetric

WORDS = [f'thing {row}' for row in range(300)]
SIDE = 64
IGNORED = 65535
PLACE = (slice(8, 24), slice(8, 24))  # where class 255 is
OTHER = (slice(40, 56), slice(40, 56))  # where class 299 is


@pytest.fixture(autouse=True)
def _mmseg_names() -> Iterator[None]:
    """Steps are found by mmseg's names, whatever scope another test left behind."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def dataset(tmp_path: Path) -> VocabularySegDataset:
    """One picture: class 255, class 299, and everything else ignored."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    labels_HW = np.full((SIDE, SIDE), IGNORED, dtype=np.uint16)
    labels_HW[PLACE], labels_HW[OTHER] = 255, 299
    Image.fromarray(labels_HW).save(tmp_path / 'labels' / 'a.tif')
    picture_HW3 = np.random.default_rng(0).integers(90, 110, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(picture_HW3).save(tmp_path / 'images' / 'a.jpg', quality=95)
    return VocabularySegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        seg_map_suffix='.tif',
        vocabulary=WORDS,
        background=False,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='vlm_dense.LoadLabelMap'),
            dict(type='PackSegInputs'),
            dict(type='vlm_dense.AttachVocabulary', vocabulary=WORDS),
        ],
    )


def padded(dataset: VocabularySegDataset) -> dict:
    """A training batch, 32 pixels wider and higher than its picture."""
    side = SIDE + 32
    prepare = SegDataPreProcessor(mean=[100.0] * 3, std=[20.0] * 3, size=(side, side), seg_pad_val=IGNORED)
    return prepare(pseudo_collate([dataset[0]]), training=True)


@pytest.mark.parametrize('loss_size', ['labels', 'logits'])
def test_loss_counts_class_255_and_nothing_that_is_ignored(dataset: VocabularySegDataset, loss_size: str) -> None:
    model = tiny_segmentor(ignore_index=IGNORED, loss_size=loss_size, upsample=1).eval()
    batch = padded(dataset)
    labels_HW = batch['data_samples'][0].gt_sem_seg.data[0]
    assert (labels_HW[SIDE:] == IGNORED).all()
    assert (labels_HW[:, SIDE:] == IGNORED).all()
    found = model.loss(**batch)['decode.loss_ce']
    logits = model(**batch, mode='tensor')
    if loss_size == 'labels':
        logits = functional.interpolate(logits, labels_HW.shape, mode='bilinear', align_corners=True)
    else:
        # Cells of 2 x 2 pixels: the pixel right below the centre.
        labels_HW = labels_HW[1::2, 1::2]
    counts_HW = (labels_HW == 255) | (labels_HW == 299)
    log_p = functional.log_softmax(logits[0].double(), 0)[:, counts_HW]
    expected = -log_p.gather(0, labels_HW[counts_HW][None]).mean()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_class_255_is_learned(dataset: VocabularySegDataset) -> None:
    torch.manual_seed(0)
    model = tiny_segmentor(ignore_index=IGNORED).eval()
    batch = padded(dataset)
    labels_HW = batch['data_samples'][0].gt_sem_seg.data[0]
    labels_HW[labels_HW == 299] = IGNORED  # class 255 alone gives a gradient
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def probability() -> float:
        logits = model(**batch, mode='tensor')
        assert logits.shape[-2:] == labels_HW.shape
        return float(logits.detach().softmax(1)[0, 255][labels_HW == 255].mean())

    before = probability()
    for _ in range(8):
        optimizer.zero_grad()
        model.loss(**batch)['decode.loss_ce'].backward()
        optimizer.step()
    assert before < 0.05
    assert probability() > 4 * before


def test_head_for_8_bits_refuses_the_map(dataset: VocabularySegDataset) -> None:
    with pytest.raises(ConfigError, match='ignore_index=255 is also the label of one of the 300 words'):
        tiny_segmentor().loss(**padded(dataset))


def test_metric_counts_class_255(dataset: VocabularySegDataset) -> None:
    sample = dataset[0]['data_samples']
    found_HW = sample.gt_sem_seg.data.clone()
    found_HW[found_HW == IGNORED] = 255  # wrong nowhere: these pixels count for nothing
    found_HW[0, PLACE[0], 8:12] = 3  # a quarter of class 255
    found = dict(sample.to_dict(), pred_sem_seg=dict(data=found_HW), vocabulary=sample.vocabulary)
    metric = SeenUnseenIoUMetric()
    metric.process({}, [found])
    figures = metric.evaluate(1)
    assert figures['miou'] == pytest.approx((75 + 100 + 0) / 3, abs=1e-9)
    assert figures['pixel_accuracy'] == pytest.approx(87.5, abs=1e-9)
    assert figures['fwiou'] == pytest.approx(87.5, abs=1e-9)


@pytest.mark.parametrize('draw', ['truth', 'prediction'])
def test_class_255_is_drawn_and_ignored_pixels_are_not(
    dataset: VocabularySegDataset, tmp_path: Path, draw: str
) -> None:
    visualizer = SegLocalVisualizer(alpha=1.0)
    visualizer.dataset_meta = dataset.metainfo
    sample = dataset[0]['data_samples']
    if draw == 'prediction':
        sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data)
        del sample.gt_sem_seg
    image_HW3 = np.full((SIDE, SIDE, 3), 100, dtype=np.uint8)
    visualizer.add_datasample('a', image_HW3, sample, out_file=str(tmp_path / 'a.png'), with_labels=False)
    drawn_HW3 = np.asarray(Image.open(tmp_path / 'a.png'))
    painted_HW = drawn_HW3.any(-1)
    expected_HW = np.zeros((SIDE, SIDE), dtype=bool)
    expected_HW[PLACE] = expected_HW[OTHER] = True
    np.testing.assert_array_equal(painted_HW, expected_HW)
    assert (drawn_HW3[PLACE] == dataset.metainfo['palette'][255]).all()
    assert (drawn_HW3[OTHER] == dataset.metainfo['palette'][299]).all()
