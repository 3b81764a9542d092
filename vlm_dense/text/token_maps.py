"""Which tokens of a prompt stand for which of its words."""

import torch
from torch import Tensor

from vlm_dense.errors import VocabularyError
from vlm_dense.text.encoders.base import shorten
from vlm_dense.text.encoders.tokens import Tokens
from vlm_dense.text.prompt_packing import Prompt


def word_tokens(prompt: Prompt, tokens: Tokens) -> Tensor:
    """The tokens of each word.

    A token belongs to a word as soon as one of its characters stands in one of the word's places. (mmdet's
    ``create_positive_map`` looks up the tokens of the first and the last character and takes what lies between.)

    Args:
        prompt: Asks for K words.
        tokens: The L tokens of its text.

    Returns:
        (K, L) boolean.

    Raises:
        VocabularyError: If a word has no token.
    """
    owners = [row for row, spans in enumerate(prompt.spans) for _ in spans]
    place_S2 = torch.tensor([span for spans in prompt.spans for span in spans]).reshape(-1, 2)
    token_L2 = torch.tensor([span or (0, 0) for span in tokens.spans]).reshape(-1, 2)
    meets_SL = (token_L2[:, 0] < place_S2[:, 1:]) & (place_S2[:, :1] < token_L2[:, 1])
    count_KL = torch.zeros(len(prompt.rows), len(token_L2)).index_add_(
        0, torch.tensor(owners, dtype=torch.long), meets_SL.float()
    )
    is_word_KL = count_KL > 0
    without = (~is_word_KL.any(dim=1)).nonzero().flatten().tolist()
    if without:
        word = prompt.phrases()[without[0]]
        raise VocabularyError(
            f"'{shorten(word)}' has no token in '{shorten(prompt.text)}'. Write it in other letters, or leave it out."
        )
    return is_word_KL
