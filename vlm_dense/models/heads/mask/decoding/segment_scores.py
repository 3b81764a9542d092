"""What a segment is called, and whether it is a segment at all.

Shapes: N segments, K words.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlm_dense.text.vocabulary import Vocabulary


def things_of(vocabulary: Vocabulary, device: torch.device) -> Tensor:
    """Boolean (K,), True for words that are counted; all of them where the vocabulary does not say."""
    flags: Sequence[bool] = vocabulary.is_thing or (True,) * len(vocabulary)
    return torch.tensor(flags, dtype=torch.bool, device=device)


def best_words(score_NS: Tensor, num_words: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best word of every segment.

    A segment is called by a word where no other column and no rest up to 1 has more than it: the rest is the
    probability that it is no segment (void), which scores no longer hold.

    Args:
        score_NS: Probabilities of the words and, from column K on, of the background.
        num_words: K.

    Returns:
        Score (N,), word (N,), and whether the word has most (N,).
    """
    score_N, word_N = score_NS[:, :num_words].max(dim=1)
    rest_N = 1 - score_NS.sum(dim=1)
    other_N = torch.cat([score_NS[:, num_words:], rest_N[:, None]], dim=1).amax(dim=1)
    return score_N, word_N, score_N >= other_N
