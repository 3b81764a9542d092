"""Learned contexts on disk, and the text bank that they make."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.errors import CheckpointError, ConfigError, StorageError
from vlm_dense.folders import whole_file
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.frozen import FrozenTextEncoder
from vlm_dense.text.encoders.tower import TextTower
from vlm_dense.text.learned.layout import PromptLayout
from vlm_dense.text.learned.prompts import LearnedPrompts, frozen_tower
from vlm_dense.text.vocabulary import Vocabulary

SETTINGS = 'learned_prompts'


def save_contexts(prompts: LearnedPrompts, path: str | Path) -> None:
    """Write contexts and what they mean to one safetensors file, whole or not at all.

    Raises:
        StorageError: If the file cannot be written.
    """
    settings = {
        'before': prompts.layout.before,
        'after': prompts.layout.after,
        'suffix': prompts.layout.suffix,
        'words': None if prompts.words is None else list(prompts.words.words),
        'conditional': prompts.meta_net is not None,
        'encoder': prompts.tower.fingerprint,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in prompts.state_dict().items()}
    target = Path(path).expanduser()
    try:
        with whole_file(target) as file:
            save_file(tensors, file, {SETTINGS: json.dumps(settings)})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise StorageError(f"contexts cannot be saved as '{target}': {reason}. Choose a place.") from error


def load_contexts(encoder: dict | TextTower | FrozenTextEncoder, path: str | Path) -> LearnedPrompts:
    """Read what `save_contexts` wrote.

    Args:
        encoder: The text tower that the contexts were trained with, or its config.
        path: The file.

    Raises:
        MissingFileError: If there is no such file.
        CheckpointError: If it holds no contexts, or contexts for another text tower.
    """
    found = read_checkpoint(path)
    tensors = found.get('state_dict', {})
    try:
        settings = json.loads(found['meta'][SETTINGS])
        layout = PromptLayout(settings['before'], settings['after'], settings['suffix'])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"'{path}' holds no learned contexts. Write them with save_contexts().") from error
    tower = frozen_tower(encoder)
    if settings['encoder'] != tower.fingerprint:
        raise CheckpointError(
            f"the contexts in '{path}' were trained with the text tower {settings['encoder']}, not with "
            f'{tower.fingerprint}. Name the tower and weights they were trained with.'
        )
    prompts = LearnedPrompts(
        tower,
        (layout.before, layout.after),
        'two_sided',
        words=settings['words'],
        conditional=settings['conditional'],
        suffix=layout.suffix,
    )
    try:
        prompts.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}. Save the contexts again.") from error
    return prompts.eval().requires_grad_(False)


@MODELS.register_module()
class LearnedPromptBank:
    """The text bank of learned contexts; used wherever a `TextBank` is.

    A bank is no ``nn.Module``: inside a model it adds nothing to the state dict.

    Args:
        encoder: The text tower (or frozen encoder) that the contexts were trained with, or its config.
        contexts: File of `save_contexts`.

    Raises:
        MissingFileError: If there is no such file.
        CheckpointError: If it holds no contexts, or contexts for another text tower.
        ConfigError: If the contexts depend on the picture: their rows are not a vocabulary's alone.
    """

    def __init__(self, encoder: dict | TextTower | FrozenTextEncoder, contexts: str | Path) -> None:
        self.prompts = load_contexts(encoder, contexts)
        if self.prompts.meta_net is not None:
            raise ConfigError(f"the contexts in '{contexts}' depend on the picture. Use load_contexts() in a model.")
        self._memory: dict[tuple[str, ...], Tensor] = {}

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.prompts.embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """Embed a vocabulary.

        Args:
            vocabulary: K words; with a shared context any words, else words that have a context of their own.

        Returns:
            (K, D) float32 unit rows on the CPU. The tensor is shared between calls: do not write to it.

        Raises:
            VocabularyError: If a word has no context of its own, or its prompt is too long.
        """
        words = vocabulary.words
        if words not in self._memory:
            with torch.no_grad():
                self._memory[words] = self.prompts(vocabulary).float().cpu()
        return self._memory[words]
