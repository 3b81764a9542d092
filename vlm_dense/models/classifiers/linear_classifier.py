"""The closed-set control: one weight row per base word, no text."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary


@MODELS.register_module()
class LinearClassifier(BaseModule):
    """Linear scores for the base words of one vocabulary; any other word has probability 0.

    Only a control. Its rows belong to the base words in the order in which training listed them, so unlike
    `EmbeddingClassifier` it cannot follow another list of words.

    Args:
        embed_dim: Width D of region embeddings.
        vocabulary: What `Vocabulary.build` reads; its base words get the rows.
        void: Whether one more column, behind the background, is what no segment is.
    """

    has_background = True
    words_apart = False  # It must see which base words are asked for.

    def __init__(self, embed_dim: int, vocabulary: object, void: bool = False) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.has_void = void
        self.num_base = len(Vocabulary.build(vocabulary).select(is_base=True))
        self.linear = nn.Linear(embed_dim, self.num_base + 1 + void)

    def forward(self, region_ND: Tensor, text_KD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """Logits of the words, of the background and maybe of the void, minus infinity for words that are not base.

        Args:
            region_ND: Region embeddings.
            text_KD: Gives K; its values are not read.
            is_base_K: Boolean (K,), the base words among the K.

        Returns:
            (N, K + 1), or (N, K + 2) with a void.

        Raises:
            ConfigError: If the request has base words, but another number of them than training.
        """
        rows_J = asked_base_rows(self.num_base, is_base_K)
        base_NB, others_NE = self.linear(region_ND).tensor_split([self.num_base], dim=1)
        words_NK = base_NB.new_full((len(region_ND), len(text_KD)), -torch.inf)
        if len(rows_J):
            words_NK[:, rows_J] = base_NB
        return torch.cat([words_NK, others_NE], dim=1)


def asked_base_rows(num_base: int, is_base_K: Tensor | None) -> Tensor:
    """Where the base words of a request stand: all that a closed-set control was trained on, or none.

    Args:
        num_base: Base words of the training.
        is_base_K: Boolean (K,), the base words among the K asked for.

    Raises:
        ConfigError: If there is another number of them.
    """
    rows_J = torch.zeros(0, dtype=torch.long) if is_base_K is None else is_base_K.nonzero()[:, 0]
    if is_base_K is None or len(rows_J) not in (0, num_base):
        raise ConfigError(
            f'the closed-set control knows {num_base} base words, the request has {len(rows_J)}; '
            'evaluate it with the vocabulary of its training.'
        )
    return rows_J
