"""Learned prompts are written where a text bank reads them."""

from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vlm_dense.errors import ConfigError
from vlm_dense.registry import HOOKS
from vlm_dense.text.learned import LearnedPrompts
from vlm_dense.text.learned.bank import save_contexts


@HOOKS.register_module()
class SaveContextsHook(Hook):
    """Writes the `LearnedPrompts` of a model after training, for `LearnedPromptBank`.

    Args:
        file: Name of the file in the work folder.
    """

    def __init__(self, file: str = 'contexts.safetensors') -> None:
        self.file = file

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write them.

        Raises:
            ConfigError: If the model has none, or several.
            StorageError: If the file cannot be written.
        """
        model: Any = runner.model
        found = [module for module in model.modules() if isinstance(module, LearnedPrompts)]
        if len(found) != 1:
            raise ConfigError(
                f'SaveContextsHook: the model has {len(found)} LearnedPrompts, not one; take the hook out of '
                'custom_hooks, or train prompts.'
            )
        save_contexts(found[0], Path(runner.work_dir, self.file))
