"""Numbers that stand for texts, the same in every process and every run.

Shapes: K words, L tokens.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

NO_KEY = -1


def text_keys(texts: Sequence[str]) -> Tensor:
    """One integer from 0 to 2^63 - 1 per text (K,), equal where the texts are, letter case and outer spaces aside.

    Python's own hash differs from process to process; two of a million texts share one of these with a probability of
    about 10^-7.
    """
    digests = (hashlib.blake2b(text.strip().casefold().encode(), digest_size=8).digest() for text in texts)
    return torch.tensor([int.from_bytes(digest, 'big') >> 1 for digest in digests], dtype=torch.int64)


def token_keys(words: Sequence[str], is_word_KL: Tensor) -> Tensor:
    """The key of the word that each token stands for (L,), `NO_KEY` where it stands for none.

    Args:
        words: The K words of a text.
        is_word_KL: Boolean, which tokens stand for each; a token of several words gets the key of the first.
    """
    if not words:
        return is_word_KL.new_full(is_word_KL.shape[1:], NO_KEY, dtype=torch.int64)
    keys_K = text_keys(words).to(is_word_KL.device)
    return torch.where(is_word_KL.any(dim=0), keys_K[is_word_KL.int().argmax(dim=0)], NO_KEY)
