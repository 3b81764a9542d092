"""Words as a text tower's tokens: what grounding heads read.

Shapes: B texts, L tokens, C the tower's width, K words of one prompt.
"""

from typing import NamedTuple

from torch import Tensor


class TextTokens(NamedTuple):
    """Encoded texts, as wide as the longest of them.

    Args:
        hidden_BLC: Last hidden states, which fusion with the picture goes on from.
        embedded_BLC: The states that are compared with regions where nothing is fused; 0 where there is no token.
        is_token_BL: Boolean, False where a shorter text is padded.
    """

    hidden_BLC: Tensor
    embedded_BLC: Tensor
    is_token_BL: Tensor


class PromptTokens(NamedTuple):
    """One prompt that asks for K words of a vocabulary.

    Args:
        text: The prompt's tokens, a batch of 1.
        token_map_KL: Rows sum to 1; times the scores of the tokens they give every word the mean of its own tokens.
        rows_K: The words' rows in the vocabulary.
    """

    text: TextTokens
    token_map_KL: Tensor
    rows_K: Tensor
