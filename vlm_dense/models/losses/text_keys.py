"""Numbers that stand for texts, the same in every process and every run."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def text_keys(texts: Sequence[str]) -> Tensor:
    """One integer from 0 to 2^63 - 1 per text (K,), equal where the texts are, letter case and outer spaces aside.

    Python's own hash differs from process to process; two of a million texts share one of these with a probability of
    about 10^-7.
    """
    digests = (hashlib.blake2b(text.strip().casefold().encode(), digest_size=8).digest() for text in texts)
    return torch.tensor([int.from_bytes(digest, 'big') >> 1 for digest in digests], dtype=torch.int64)
