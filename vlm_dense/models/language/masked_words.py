"""Masked language modelling beside a detector's own losses.

Shapes: B texts, L tokens, C the text tower's width, V entries of its vocabulary, M masked tokens.

BERT (arXiv:1810.04805), Sec. 3.1: 15 % of the tokens are predicted; of these 80 % are read as the mask, 10 % as a
random entry and 10 % as they are; ``loss = -1/M sum_m log softmax(E t(h_m) + b)`` with the embedding matrix E and the
transform ``t = LayerNorm(gelu(W h + c))``. GLIPv2 (arXiv:2206.05836), Sec. 3, takes it of the states after fusion,
with weight 1, and its release asks for the words of detection prompts alone. The release also masks special tokens and
draws them as random entries, which we do not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS

IGNORED = -100


class MaskedIds(NamedTuple):
    """Texts with some of their tokens hidden.

    Args:
        ids_BL: What the tower reads.
        labels_BL: What stood there before, `IGNORED` where nothing is asked.
    """

    ids_BL: Tensor
    labels_BL: Tensor


@MODELS.register_module()
class MaskedWords(BaseModule):
    """Hides words and predicts them from the tower's states. `tie` it to the tower's embedding before the first loss.

    The keys of its weights are those of transformers' ``cls.predictions``; the embedding matrix is the tower's and not
    among them. Draws come from torch's own generator of the texts' device.

    Args:
        width: C.
        vocab_size: V.
        mask_id: Entry that stands for a hidden token.
        special_ids: Entries that are never hidden nor drawn, padding and the mask among them. The defaults are those of
            bert-base-uncased: padding, unknown, start, end, mask.
        rate: Share of the tokens that are predicted.
        mask_share: Share of these that are read as the mask.
        random_share: Share of these that are read as a random entry.
        loss_weight: Factor on the loss.

    Raises:
        ConfigError: If the shares are no shares, or an entry lies outside the vocabulary.
    """

    def __init__(
        self,
        width: int = 768,
        vocab_size: int = 30522,
        mask_id: int = 103,
        special_ids: Sequence[int] = (0, 100, 101, 102, 103),
        rate: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        loss_weight: float = 1.0,
    ) -> None:
        from transformers import BertConfig
        from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

        super().__init__()
        if not (0 <= rate <= 1 and mask_share >= 0 and random_share >= 0 and mask_share + random_share <= 1):
            raise ConfigError(
                f'MaskedWords: rate={rate}, mask_share={mask_share}, random_share={random_share}; give shares from 0 '
                'to 1, the last two at most 1 together.'
            )
        outside = [entry for entry in (mask_id, *special_ids) if not 0 <= entry < vocab_size]
        if outside:
            raise ConfigError(
                f'MaskedWords: the entries {outside} are not in a vocabulary of {vocab_size}; set mask_id, special_ids '
                "and vocab_size to those of the text tower's tokenizer."
            )
        self.mask_id, self.vocab_size = mask_id, vocab_size
        self.rate, self.mask_share, self.random_share = rate, mask_share, random_share
        self.loss_weight = loss_weight
        self.transform = BertPredictionHeadTransform(BertConfig(hidden_size=width, vocab_size=vocab_size))
        nn.init.normal_(self.transform.dense.weight, std=0.02)
        nn.init.zeros_(self.transform.dense.bias)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        special_S = torch.tensor(sorted({mask_id, *special_ids}))
        ordinary_V = torch.ones(vocab_size, dtype=torch.bool).index_fill(0, special_S, False).nonzero()[:, 0]
        self.register_buffer('special_S', special_S, persistent=False)
        self.register_buffer('ordinary_V', ordinary_V, persistent=False)
        # In a list, so that the tower's weight is neither saved nor optimized twice.
        self._embedding: list[nn.Embedding] = []

    def tie(self, embedding: nn.Embedding) -> None:
        """Predict with the tower's own embedding matrix.

        Args:
            embedding: The tower's word embeddings, (V, C).

        Raises:
            ConfigError: If it is of another size.
        """
        wanted = (self.vocab_size, self.transform.dense.out_features)
        if tuple(embedding.weight.shape) != wanted:
            raise ConfigError(
                f'MaskedWords is built for {wanted[0]} entries of width {wanted[1]}, and the text tower has '
                f'{tuple(embedding.weight.shape)}; set vocab_size and width to these.'
            )
        self._embedding = [embedding]

    def mask(self, ids_BL: Tensor, is_word_BL: Tensor | None = None) -> MaskedIds:
        """Hide some tokens.

        Args:
            ids_BL: Padded token ids.
            is_word_BL: Boolean, tokens that may be hidden, such as those of words and not of the separators between
                them; None is all of them. Special tokens never are.
        """
        may_BL = ~torch.isin(ids_BL, self.special_S)
        if is_word_BL is not None:
            may_BL &= is_word_BL
        asked_BL = may_BL & (torch.rand(ids_BL.shape, device=ids_BL.device) < self.rate)
        fate_BL = torch.rand(ids_BL.shape, device=ids_BL.device)
        drawn_BL = self.ordinary_V[torch.randint(len(self.ordinary_V), ids_BL.shape, device=ids_BL.device)]
        read_BL = torch.where(fate_BL < self.mask_share + self.random_share, drawn_BL, ids_BL)
        read_BL = read_BL.masked_fill(fate_BL < self.mask_share, self.mask_id)
        return MaskedIds(torch.where(asked_BL, read_BL, ids_BL), ids_BL.masked_fill(~asked_BL, IGNORED))

    def loss(self, hidden_BLC: Tensor, masked: MaskedIds) -> Tensor:
        """Mean over the hidden tokens, in float32; 0 where none is hidden.

        Args:
            hidden_BLC: States of the texts ``masked.ids_BL``, cut to the longest or not.
            masked: Of `mask`.

        Raises:
            ConfigError: If the module was not tied.
        """
        if not self._embedding:
            raise ConfigError("MaskedWords: there is nothing to predict with; call tie() with the tower's embedding.")
        labels_BL = masked.labels_BL[:, : hidden_BLC.shape[1]]
        asked_BL = labels_BL != IGNORED
        # Also with no token at all, so that every weight has a gradient in every process.
        logits_MV = linear(self.transform(hidden_BLC[asked_BL]), self._embedding[0].weight, self.bias)
        summed = cross_entropy(logits_MV.float(), labels_BL[asked_BL], reduction='sum')
        return self.loss_weight * summed / max(len(logits_MV), 1)
