"""Text banks: one row of text embedding per word of a vocabulary."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.text.cache import read_tensor, write_tensor
from vlm_dense.text.encoders.base import TextEncoder
from vlm_dense.text.prompts import load_prompts
from vlm_dense.text.vocabulary import Vocabulary

CACHE_LAYOUT = 1  # raise when the meaning of a cached file changes
AVERAGING = 'normalise, mean over templates, normalise'


@MODELS.register_module()
class TextBank:
    """Encodes each word in its prompts, once per list of words.

    Each text is encoded to a unit vector, the vectors of a word are averaged over the templates, and the mean is
    scaled to unit length (CLIP's zero-shot recipe, arXiv:2103.00020 section 3.1.4; ViLD does the same). The order
    of the words changes the order of the rows and nothing else, to the last bit.

    A bank is no ``nn.Module``: inside a model it adds nothing to the state dict.

    Args:
        encoder: A text encoder or its config. Its weights are read at the first word that no cache holds.
        prompt: Name of a prompt set, a template or a list of templates; see `vlm_dense.text.prompts`.
        cache_dir: Folder for finished banks, shared by any number of processes; None keeps them in memory only.

    Raises:
        ConfigError: If the encoder or the prompt cannot be used.
    """

    def __init__(
        self, encoder: dict | TextEncoder, prompt: str | Sequence[str] = 'single', cache_dir: str | None = None
    ) -> None:
        built: Any = MODELS.build(encoder) if isinstance(encoder, dict) else encoder
        if not callable(getattr(built, 'encode', None)):
            raise ConfigError(f'{type(built).__name__} is no text encoder: it has no encode(texts). Name another type.')
        self.encoder: TextEncoder = built
        self.prompts = load_prompts(prompt)
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self._memory: dict[tuple[str, ...], Tensor] = {}

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.encoder.embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """Embed a vocabulary.

        Args:
            vocabulary: K words.

        Returns:
            (K, D) float32 unit rows on the CPU. The tensor is shared between calls: do not write to it.

        Raises:
            StorageError: If ``cache_dir`` cannot be read or written.
        """
        words = vocabulary.words
        if words not in self._memory:
            self._memory[words] = self._embed(words) if self.cache_dir is None else self._embed_cached(words)
        return self._memory[words]

    def cache_file(self, words: Sequence[str]) -> Path | None:
        """Where the bank of these words is kept, or None without ``cache_dir``."""
        if self.cache_dir is None:
            return None
        identity = [CACHE_LAYOUT, self.encoder.fingerprint, self._texts(words), AVERAGING]
        return self.cache_dir / f'{hashlib.sha256(json.dumps(identity).encode()).hexdigest()}.safetensors'

    def _embed_cached(self, words: Sequence[str]) -> Tensor:
        path = self.cache_file(words)
        assert path is not None
        text_KD = read_tensor(path, rows=len(words))
        if text_KD is None:
            text_KD = self._embed(words)
            write_tensor(path, text_KD, {'encoder': self.encoder.fingerprint, 'words': json.dumps(list(words))})
        return text_KD

    def _texts(self, words: Sequence[str]) -> list[list[str]]:
        return [self.prompts.texts(word) for word in words]

    def _embed(self, words: Sequence[str]) -> Tensor:
        texts = self._texts(words)
        # A fixed order makes every text share its batch with the same others, whatever order the words came in.
        distinct = sorted({text for row in texts for text in row}, key=lambda text: (len(text), text))
        row_of = {text: row for row, text in enumerate(distinct)}
        encoded_MD = self.encoder.encode(distinct)
        index_KT = torch.tensor([[row_of[text] for text in row] for row in texts])
        return F.normalize(encoded_MD[index_KT].mean(dim=1), dim=-1)
