"""No checkpoint is lost while its successor is written."""

from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from vlm_dense.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's hook, except that an outdated checkpoint goes only when its successor is on the disk.

    mmengine removes first: with ``max_keep_ckpts=1`` a run killed while saving has no checkpoint left.
    """

    def before_train(self, runner: Runner) -> None:
        """Prepare as mmengine does, and put removals off from then on."""
        super().before_train(runner)
        self.file_backend: Any = _PutOffRemovals(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        self.file_backend.remove_now(kept={str(path) for path in [self.last_ckpt, *best]})


class _PutOffRemovals:
    """A file backend that remembers what to remove until it is told to."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._outdated: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._outdated.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._outdated.append((self._backend.rmtree, path))

    def remove_now(self, kept: set[str]) -> None:
        for remove, path in self._outdated:
            if str(path) not in kept and self._backend.exists(path):
                remove(path)
        self._outdated.clear()
