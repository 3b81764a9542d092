"""What a pixel head knows about a picture before any word is asked."""

from typing import NamedTuple

import torch
from torch import Tensor


class Pixels(NamedTuple):
    """Pixel embeddings and, where the head separates objects from background itself, its background gate.

    Args:
        dense_BDhw: Embeddings, not normalised.
        gate_B1hw: Log-odds of background against all words together, on its own grid; None where the head has no
            background, or has it as a vector of its classifier.
    """

    dense_BDhw: Tensor
    gate_B1hw: Tensor | None = None


def join_gate(words_BKhw: Tensor, gate_B1hw: Tensor) -> Tensor:
    """Logits whose softmax gives the background sigmoid(gate) and every word its share of the rest.

    Background is thus judged without the words: neither doubt about the word nor a longer list of words makes a pixel
    background.

    Returns:
        (B, K + 1, h, w), background last.
    """
    return torch.cat([words_BKhw, gate_B1hw + torch.logsumexp(words_BKhw, dim=1, keepdim=True)], dim=1)
