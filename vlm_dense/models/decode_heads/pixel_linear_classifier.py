"""The closed-set control of the segmentors: one weight row per base word, no text."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.models.classifiers.linear_classifier import asked_base_rows
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

NEVER = -1e4  # Finite, because resizing and smoothing multiply logits by 0.


@MODELS.register_module()
class PixelLinearClassifier(BaseModule):
    """Linear scores of pixels for the base words of one vocabulary; no other word can win against them.

    Only a control, for heads that judge the background by a gate. Its rows belong to the base words in the order in
    which training listed them, so unlike `EmbeddingClassifier` it cannot follow another list of words.

    Args:
        embed_dim: Width D of pixel embeddings, which are brought to unit length.
        vocabulary: What `Vocabulary.build` reads; its base words get the rows.
    """

    has_background = False

    def __init__(self, embed_dim: int, vocabulary: object) -> None:
        super().__init__()
        self.num_base = len(Vocabulary.build(vocabulary).select(is_base=True))
        self.linear = nn.Conv2d(embed_dim, self.num_base, 1)

    def forward(self, dense_BDhw: Tensor, text_KD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w), `NEVER` for words that are not base.

        Args:
            dense_BDhw: Pixel embeddings.
            text_KD: Gives K; its values are not read.
            is_base_K: Boolean (K,), the base words among the K.

        Raises:
            ConfigError: If the request has base words, but another number of them than training.
        """
        rows_J = asked_base_rows(self.num_base, is_base_K)
        batch, _, height, width = dense_BDhw.shape
        logits_BKhw = dense_BDhw.new_full((batch, len(text_KD), height, width), NEVER)
        if len(rows_J):
            scores_BJhw = self.linear(functional.normalize(dense_BDhw, dim=1))
            logits_BKhw = torch.index_copy(logits_BKhw, 1, rows_J, scores_BJhw)
        return logits_BKhw
