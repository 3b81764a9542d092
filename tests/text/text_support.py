"""An encoder that needs no weights."""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F


class HashEncoder:
    """Each text has one pseudo-random vector; counts the texts that it was asked for."""

    embed_dim = 8
    max_tokens = 77

    def __init__(self, salt: str = '') -> None:
        self.fingerprint = f'hash:{salt}'
        self.asked: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) + 2 for text in texts]

    def encode(self, texts: Sequence[str], normalise: bool = True) -> torch.Tensor:
        self.asked.extend(texts)
        rows = [hashlib.sha256((self.fingerprint + text).encode()).digest()[:8] for text in texts]
        raw_ND = torch.tensor([[byte - 127.5 for byte in row] for row in rows]).reshape(-1, 8)
        return F.normalize(raw_ND, dim=-1) if normalise else raw_ND
