"""Drawn label maps carry the caller's words: predictions, and the truth beside them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from vlm_dense.engine import RequestWordsHook
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.visualization import color_of

REQUEST = Vocabulary.from_words(['thing 0', 'Cat', *(f'thing {row}' for row in range(2, 300))])
GREY = 100


class SegVisualizationHook:
    """Stands for mmseg's: that there is one says that pictures are drawn."""


def runner_of(classes: tuple[str, ...], drawn: bool = True) -> SimpleNamespace:
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes))))
    hooks = [SegVisualizationHook()] if drawn else []
    return SimpleNamespace(test_loop=loop, val_loop=loop, hooks=hooks, visualizer=SegLocalVisualizer(alpha=1.0))


def sample_of(truth: list[int], found: list[int]) -> SegDataSample:
    sample = SegDataSample(metainfo=dict(vocabulary=REQUEST))
    sample.gt_sem_seg = PixelData(data=torch.tensor([[truth]]))
    sample.pred_sem_seg = PixelData(data=torch.tensor([[found]]))
    return sample


def drawing(runner: SimpleNamespace, sample: SegDataSample, path: Path) -> np.ndarray:
    """Colours of the truth's pixels, then of the prediction's."""
    width = sample.pred_sem_seg.shape[1]
    image = np.full((1, width, 3), GREY, dtype=np.uint8)
    runner.visualizer.add_datasample('a', image, sample, out_file=str(path), with_labels=False)
    return np.asarray(Image.open(path))[0]


@pytest.mark.parametrize('phase', ['test', 'val'])
def test_truth_is_drawn_in_the_callers_words(tmp_path, phase):
    runner = runner_of(('dog', 'cat', 'background'))
    # dog, which nobody asked for; cat; background; ignored, where the caller's words have a 255th.
    sample = sample_of([0, 1, 2, 255], [1, 255, 300, 2])
    before = sample.gt_sem_seg
    getattr(RequestWordsHook(), f'after_{phase}_iter')(runner, 0, None, [sample])
    black = (0, 0, 0)
    colors = [black, color_of('Cat'), black, black]
    colors += [color_of('Cat'), color_of('thing 255'), black, color_of('thing 2')]
    assert [tuple(color) for color in drawing(runner, sample, tmp_path / 'a.png').tolist()] == colors
    assert before.data.tolist() == [[[0, 1, 2, 255]]]


@pytest.mark.parametrize(
    ('classes', 'drawn'), [(REQUEST.words, True), ((*REQUEST.words, 'background'), True), (('dog', 'cat'), False)]
)
def test_truth_stays_where_the_words_agree_or_nothing_is_drawn(classes, drawn):
    sample = sample_of([0, 1, 255, 65535], [0, 0, 0, 0])
    RequestWordsHook().after_test_iter(runner_of(classes, drawn), 0, None, [sample])
    assert sample.gt_sem_seg.data.tolist() == [[[0, 1, 255, 65535]]]
