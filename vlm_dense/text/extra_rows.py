"""Rows that stand for no word of the vocabulary: a background, a void, anything else. Always last, always named."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import build_part
from vlm_dense.text.vocabulary import Vocabulary

LEARNED_STD = 0.02  # spread of a learned row at the start; its length is normalised away
LEARNED = ('learned', 'learned_raw')


class ExtraRows(nn.Module):
    """Rows behind those of the words.

    Args:
        embed_dim: Width D of the rows.
        rows: From the name of each row to what it is: 'zero' (its similarity with anything is 0, as in RegionCLIP,
            arXiv:2112.09106), 'learned' (one vector, brought to unit length on every call, as in ViLD,
            arXiv:2104.13921), 'learned_raw' (one vector, as long as it has become, as in ZegFormer, arXiv:2112.07910;
            it starts as a row of ``torch.nn.Linear``), or ``dict(text=..., bank=...)``, the embedding of a text by a
            text bank, as the prompt 'background' of F-VLM (arXiv:2209.15639).

    Raises:
        ConfigError: If a row is none of these, or a bank has another width.
    """

    def __init__(self, embed_dim: int, rows: Mapping[str, str | dict]) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.names = tuple(rows)
        self._kinds = [kind if isinstance(kind, str) else 'text' for kind in rows.values()]
        learned = [kind for kind in self._kinds if kind in LEARNED]
        if learned:
            self.learned_ED = nn.Parameter(torch.cat([_first_row(kind, embed_dim) for kind in learned]))
        self._texts = [self._read(name, row) for name, row in rows.items() if not isinstance(row, str)]
        for name, kind in zip(self.names, self._kinds, strict=True):
            if kind not in ('zero', 'text', *LEARNED):
                raise ConfigError(
                    f"extra row '{name}': '{kind}'; choose 'zero', 'learned', 'learned_raw' or "
                    'dict(text=..., bank=...).'
                )

    def _read(self, name: str, row: dict) -> tuple[Any, Vocabulary]:
        if set(row) != {'text', 'bank'}:
            raise ConfigError(f"extra row '{name}' has the keys {', '.join(row)}; it takes 'text' and 'bank'.")
        bank: Any = build_part(row['bank'])
        if bank.embed_dim != self.embed_dim:
            raise ConfigError(
                f"extra row '{name}': its bank has width {bank.embed_dim}, the words have {self.embed_dim}. "
                'Use the bank of the words.'
            )
        return bank, Vocabulary.from_words([row['text']])

    def rows(self) -> Tensor:
        """The extra rows alone, (E, D) in the order of ``names``; gradient flows to learned ones."""
        learned_ED = getattr(self, 'learned_ED', None)
        learned = iter(()) if learned_ED is None else iter(learned_ED)
        texts = iter(self._texts)
        made = []
        for kind in self._kinds:
            if kind == 'text':
                bank, vocabulary = next(texts)
                made.append(bank(vocabulary)[0].float())
            elif kind == 'zero':
                made.append(torch.zeros(self.embed_dim))
            else:
                row_D = next(learned)
                made.append(F.normalize(row_D, dim=-1) if kind == 'learned' else row_D)
        device = None if learned_ED is None else learned_ED.device
        return torch.stack([row.to(device) for row in made])

    def forward(self, text_KD: Tensor) -> Tensor:
        """Put the extra rows behind the words' rows: (K, D) to (K + E, D)."""
        return torch.cat([text_KD, self.rows().to(text_KD)])


def _first_row(kind: str, embed_dim: int) -> Tensor:
    if kind == 'learned':
        return torch.randn(1, embed_dim) * LEARNED_STD
    return nn.init.kaiming_uniform_(torch.empty(1, embed_dim), a=math.sqrt(5))
