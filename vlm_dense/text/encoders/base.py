"""What every text encoder offers, and what they share."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import VocabularyError


class TextEncoder(Protocol):
    """Maps texts to unit vectors of one width.

    ``fingerprint`` names the encoder and its weights: equal fingerprints mean equal vectors.
    """

    @property
    def embed_dim(self) -> int:
        """Width D."""

    @property
    def fingerprint(self) -> str:
        """Names the encoder and its weights."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (N, D) float32 unit rows on the CPU, one per text, without gradient."""


def encode_in_chunks(
    texts: Sequence[str], encode: Callable[[list[str]], Tensor], chunk_size: int, embed_dim: int
) -> Tensor:
    """Encode texts in chunks of bounded memory.

    Args:
        texts: N texts.
        encode: From up to ``chunk_size`` texts to as many rows of width ``embed_dim``, of any length and type.
        chunk_size: Texts per call.
        embed_dim: Width D, for the result of no texts.

    Returns:
        (N, D) float32 unit rows on the CPU.
    """
    rows = [torch.empty(0, embed_dim)]
    with torch.no_grad():
        for start in range(0, len(texts), chunk_size):
            rows.append(encode(list(texts[start : start + chunk_size])).float().cpu())
    return F.normalize(torch.cat(rows), dim=-1)


def check_token_counts(texts: Sequence[str], counts: Sequence[int], limit: int) -> None:
    """Refuse texts that an encoder would have to cut.

    Args:
        texts: N texts.
        counts: Tokens of each, special tokens included.
        limit: The encoder's context length in tokens.

    Raises:
        VocabularyError: Naming the first text that is too long, its tokens and the limit.
    """
    for text, count in zip(texts, counts, strict=True):
        if count > limit:
            shown = text if len(text) <= 80 else f'{text[:77]}...'
            raise VocabularyError(
                f"'{shown}' takes {count} tokens; this text encoder reads {limit}. Shorten the word or its prompt."
            )
