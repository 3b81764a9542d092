"""What every frozen text encoder does with its tower."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.text.encoders.base import check_token_counts
from vlm_dense.text.encoders.batching import rows_in_fixed_batches
from vlm_dense.text.encoders.tokens import TextTokenizer
from vlm_dense.text.encoders.tower import TextTower, TokenVectors

CHUNK_SIZE = 32


class FrozenTextEncoder:
    """Texts to vectors on the CPU in float32, by a `TextTower` that is loaded at the first text.

    The row of a text is the same to the last bit whatever other texts are encoded with it and in whatever order, at a
    given ``chunk_size`` and number of threads; see `vlm_dense.text.encoders.batching`.

    Args:
        chunk_size: Texts per forward pass; every pass has this many rows.

    Raises:
        ConfigError: If ``chunk_size`` is no positive number.
    """

    def __init__(self, chunk_size: int = CHUNK_SIZE) -> None:
        if chunk_size < 1:
            raise ConfigError(f'chunk_size={chunk_size} of {type(self).__name__}: give a positive number of texts.')
        self.chunk_size = chunk_size
        self._tokenizer: TextTokenizer | None = None
        self._tower: TextTower | None = None

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.tower.embed_dim

    @property
    def fingerprint(self) -> str:
        """Names the encoder, its weights and its settings."""
        raise NotImplementedError

    @property
    def max_tokens(self) -> int:
        """The longest text in tokens, special tokens included."""
        return self.tokenizer.max_tokens

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer; reading it needs no weights."""
        if self._tokenizer is None:
            self._tokenizer = self._load_tokenizer()
        return self._tokenizer

    @property
    def tower(self) -> TextTower:
        """The tower in eval mode and without gradient."""
        if self._tower is None:
            self._tower = self._load().eval().requires_grad_(False)
        return self._tower

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included and nothing cut.

        Raises:
            VocabularyError: If a text cannot be read.
        """
        return [len(row) for row in self.tokenizer.ids(texts)]

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        """Encode texts.

        Args:
            texts: N texts.
            normalise: Scale the rows to unit length.

        Returns:
            (N, D) float32 rows on the CPU.

        Raises:
            VocabularyError: If a text cannot be read or has more than `max_tokens` tokens.
        """
        rows = self.tokenizer.ids(texts)
        check_token_counts(texts, [len(row) for row in rows], self.max_tokens)
        if not rows:
            return torch.empty(0, self.embed_dim)

        def run(chunk: list[int], length: int) -> Tensor:
            encoded_BD = self.tower.read(self.tower.pad([rows[item] for item in chunk], length)).float()
            return (F.normalize(encoded_BD, dim=-1) if normalise else encoded_BD).cpu()

        lengths = [self.tower.padded_length(len(row), step=True) for row in rows]
        with torch.no_grad():
            return rows_in_fixed_batches(lengths, run, self.chunk_size, self.embed_dim)

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """One vector per token of each text, with the token's characters; see `TextTower.encode_tokens`.

        Returns:
            Per text (L, D) float32 vectors on the CPU, not normalised, and L spans.
        """
        found: list[TokenVectors] = []
        with torch.no_grad():
            for start in range(0, len(texts), self.chunk_size):
                chunk = self.tower.encode_tokens(list(texts[start : start + self.chunk_size]))
                found.extend(TokenVectors(one.vectors_LD.float().cpu(), one.spans) for one in chunk)
        return found

    def _load_tokenizer(self) -> TextTokenizer:
        return self.tower.tokenizer

    def _load(self) -> TextTower:
        raise NotImplementedError
