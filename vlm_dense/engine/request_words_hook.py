"""Drawn predictions carry the caller's words."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch import Tensor

from vlm_dense.registry import HOOKS
from vlm_dense.text.vocabulary import Vocabulary, normalise_word
from vlm_dense.visualization import color_of

MAP_DRAWER = 'SegVisualizationHook'


@HOOKS.register_module()
class RequestWordsHook(Hook):
    """Tells the visualizer the caller's words before a prediction is drawn, in place of the data set's classes.

    A label map of the truth that is drawn beside it counts the data set's words: its labels are looked up among the
    caller's by name. What they lack, and ignored pixels, are not drawn.
    """

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Set the words of this batch."""
        self._set_words(runner, outputs, runner.test_loop)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Set the words of this batch."""
        self._set_words(runner, outputs, runner.val_loop)

    def _set_words(self, runner: Runner, outputs: Any, loop: Any) -> None:
        vocabulary = outputs[0].get('vocabulary') if outputs else None
        if vocabulary is None:
            return
        classes = (*vocabulary.words, 'background')
        runner.visualizer.dataset_meta = {'classes': classes, 'palette': _palette(classes)}
        names = tuple(loop.dataloader.dataset.metainfo.get('classes') or ())
        if names in (classes, classes[:-1]) or all(type(hook).__name__ != MAP_DRAWER for hook in runner.hooks):
            return
        for sample in outputs:
            if 'gt_sem_seg' in sample:
                # Another object: whoever keeps the old one keeps the data set's labels.
                sample.gt_sem_seg = PixelData(data=_by_name(sample.gt_sem_seg.data, names, vocabulary))


def _by_name(labels_1HW: Tensor, names: Sequence[str], vocabulary: Vocabulary) -> Tensor:
    """Labels that count the data set's names, as labels into the words, their background and one for the rest."""
    words, rest = len(vocabulary), len(vocabulary) + 1
    place = {'background': words, **{normalise_word(word): row for row, word in enumerate(vocabulary.words)}}
    label_of = [*(place.get(normalise_word(name), rest) for name in names), rest]
    counts_1HW = (labels_1HW >= 0) & (labels_1HW < len(names))
    return labels_1HW.new_tensor(label_of)[torch.where(counts_1HW, labels_1HW, len(names)).long()]


def _palette(words: tuple[str, ...]) -> list[tuple[int, int, int]]:
    return [*(color_of(word) for word in words[:-1]), (0, 0, 0)]
