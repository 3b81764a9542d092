"""Embeddings of masks against the words of a request.

Shapes: B pictures, N masks of a picture, K words, S their names, D width of the words.
"""

from typing import Any

import torch
from torch import Tensor

from vlm_dense.models.requests import NameRows, WordRows, best_names


def word_logits(classifier: Any, embed_BND: Tensor, words: WordRows | NameRows) -> Tensor:
    """Logits (B, N, K), with as many more columns as the classifier adds; in float32 even under autocast.

    Args:
        classifier: An `EmbeddingClassifier`.
        embed_BND: Not normalised.
        words: K words. With a row per name, a word has the logit of its best name.
    """
    is_base_S = words.is_base_K[words.word_of_S] if isinstance(words, NameRows) else words.is_base_K
    with torch.autocast(embed_BND.device.type, enabled=False):
        logits_MS = classifier(embed_BND.flatten(0, 1).float(), words.text_KD, is_base_S)
    if isinstance(words, NameRows):
        logits_MS = best_names(logits_MS, words)
    return logits_MS.unflatten(0, embed_BND.shape[:2])
