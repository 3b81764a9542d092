"""Rows of words that come with pictures, also in templates drawn at random, as training augmentation."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.averaging import AVERAGINGS
from vlm_dense.text.bank import TextBank
from vlm_dense.text.prompts import load_prompts
from vlm_dense.text.vocabulary import Vocabulary

ROWS_IN_MEMORY = 65536  # 128 MiB at 512 numbers a row


@MODELS.register_module()
class DrawnPromptBank:
    """A text bank that can also give each word in one template of a set, drawn anew at every call.

    Words that come with the pictures are seldom asked twice in the same company, so drawn rows are kept one by one and
    in memory only.

    Args:
        bank: The bank of ordinary requests, or its config; its encoder and its averaging also make drawn rows.
        prompts: What to draw from, as `vlm_dense.text.prompts.load_prompts` reads it.
        rows_in_memory: Drawn rows to keep; those not asked for longest go first.

    Raises:
        ConfigError: If the prompts cannot be used.
    """

    def __init__(
        self, bank: dict | TextBank, prompts: str | Sequence[str], rows_in_memory: int = ROWS_IN_MEMORY
    ) -> None:
        self.bank: TextBank = build_part(bank)
        self.prompts = load_prompts(prompts)
        self.rows_in_memory = rows_in_memory
        self._rows: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.bank.embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """Embed a vocabulary in the prompt of ``bank``: (K, D)."""
        return self.bank(vocabulary)

    def draw(self, words: Sequence[str]) -> Tensor:
        """Embed each word in a template of its own.

        Args:
            words: N words, which may repeat. The templates come from torch's global random numbers.

        Returns:
            (N, D) float32 rows on the CPU.

        Raises:
            VocabularyError: If a text is longer than the encoder reads.
        """
        chosen = torch.randint(len(self.prompts.templates), (len(words),)).tolist()
        texts = [self.prompts.texts(word)[number] for word, number in zip(words, chosen, strict=True)]
        missing = sorted(set(texts) - set(self._rows))
        if missing:
            encoded_ND = self.bank.encoder.encode(missing, normalise=False)
            self._rows.update(zip(missing, AVERAGINGS[self.bank.averaging](encoded_ND[:, None]), strict=True))
        for text in texts:
            self._rows.move_to_end(text)
        drawn_ND = torch.stack([self._rows[text] for text in texts])
        while len(self._rows) > self.rows_in_memory:
            self._rows.popitem(last=False)
        return drawn_ND


def rows_of_words(bank: Any, words: Sequence[str]) -> Tensor:
    """A row per word, which may repeat: drawn ones of a `DrawnPromptBank`, else those of a vocabulary of the words.

    Args:
        bank: A `DrawnPromptBank`, a `TextBank` or anything with its call.
        words: N words.

    Returns:
        (N, D) on the CPU.

    Raises:
        VocabularyError: If a text is longer than the encoder reads, or a word cannot be one.
    """
    if hasattr(bank, 'draw'):
        return bank.draw(words)
    vocabulary = Vocabulary.from_words(words, dedupe=True)
    return bank(vocabulary)[torch.tensor([vocabulary.index(word) for word in words])]
