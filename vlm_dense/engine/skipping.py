"""Batches that a run has seen before it was stopped are passed over without being loaded."""

from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator

from vlm_dense.engine.seeding import SeededBatches
from vlm_dense.registry import HOOKS


@HOOKS.register_module()
class SkipSeenBatchesHook(Hook):
    """Starts the loader of a resumed iteration-based run where the run stopped.

    mmengine loads and transforms every batch since the beginning, which takes as long as that took the first time.
    Samples are seeded by their place (`SeededBatches`), so passing over their indices is enough. With samplers
    that cannot be started anew mmengine's way remains.
    """

    # After the hook that tells samplers their epoch.
    priority = 'VERY_LOW'

    def before_train_epoch(self, runner: Runner) -> None:
        """Skip ``runner.iter`` batches."""
        loop = runner.train_loop
        if not isinstance(loop, IterBasedTrainLoop) or loop.iter == 0:
            return
        loader = loop.dataloader
        batches = loader.batch_sampler
        if not isinstance(batches, SeededBatches) or not _rewind(loader.sampler):
            return
        epoch, skip = 0, loop.iter
        if not _is_endless(loader.sampler):
            # An epoch ends when the batch after it is asked for.
            epoch = (loop.iter - 1) // len(batches)
            skip = loop.iter - epoch * len(batches)
            loader.sampler.set_epoch(epoch)
        batches.begin_at(epoch, skip)
        loop.dataloader_iterator = _Skipped(loader, loop.iter, epoch)


class _Skipped(_InfiniteDataloaderIterator):
    """Answers the first calls, which are mmengine's for batches that were seen, with nothing."""

    def __init__(self, loader: Any, seen: int, epoch: int) -> None:
        super().__init__(loader)
        self._seen, self._epoch = seen, epoch

    def __next__(self) -> Any:
        if self._seen > 0:
            self._seen -= 1
            return None
        return super().__next__()


def _is_endless(sampler: Any) -> bool:
    return isinstance(sampler, InfiniteSampler) or hasattr(sampler, 'rewind')


def _rewind(sampler: Any) -> bool:
    """Start a sampler anew; whether that is possible."""
    if isinstance(sampler, InfiniteSampler):
        sampler.indices = sampler._indices_of_rank()
        return True
    if hasattr(sampler, 'rewind'):
        sampler.rewind()
        return True
    return hasattr(sampler, 'set_epoch') and hasattr(sampler, 'epoch')
