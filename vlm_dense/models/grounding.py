"""Words as a text tower's tokens: what grounding heads read.

Shapes: B texts, L tokens, C the tower's width, K words of one prompt, D width of a space that words and pictures share.
"""

from typing import NamedTuple

from torch import Tensor


class TextTokens(NamedTuple):
    """Encoded texts, as wide as the longest of them.

    Args:
        hidden_BLC: Last hidden states, which fusion with the picture goes on from.
        embedded_BLC: The states that are compared with regions where nothing is fused; 0 where there is no token.
        is_token_BL: Boolean, False where a shorter text is padded.
        word_BLD: Where an image tower shares a space with words: the unit row of the word that each token stands for,
            0 where it stands for none.
    """

    hidden_BLC: Tensor
    embedded_BLC: Tensor
    is_token_BL: Tensor
    word_BLD: Tensor | None = None


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


class TextWords(NamedTuple):
    """Which words B training texts ask for, for losses that compare texts with each other.

    Args:
        phrase_BL: Key of the word that each token stands for (`vlm_dense.models.losses.text_keys.token_keys`), equal
            where texts say the same.
        is_list_B: Boolean, True where the text is a list of names, False for a caption.
    """

    phrase_BL: Tensor
    is_list_B: Tensor
