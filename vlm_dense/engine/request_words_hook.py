"""Drawn predictions carry the caller's words."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from vlm_dense.registry import HOOKS
from vlm_dense.visualization import color_of


@HOOKS.register_module()
class RequestWordsHook(Hook):
    """Tells the visualizer the caller's words before a prediction is drawn, in place of the data set's classes."""

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Set the words of this batch."""
        self._set_words(runner, outputs)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Set the words of this batch."""
        self._set_words(runner, outputs)

    def _set_words(self, runner: Runner, outputs: Any) -> None:
        vocabulary = outputs[0].get('vocabulary') if outputs else None
        if vocabulary is not None:
            classes = (*vocabulary.words, 'background')
            runner.visualizer.dataset_meta = {'classes': classes, 'palette': _palette(classes)}


def _palette(words: tuple[str, ...]) -> list[tuple[int, int, int]]:
    return [*(color_of(word) for word in words[:-1]), (0, 0, 0)]
