"""Controls: text banks that are wrong on purpose, to show what the words contribute to a score."""

import random

import torch
from torch import Tensor

from vlm_dense.errors import VocabularyError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.bank import TextBank
from vlm_dense.text.vocabulary import Vocabulary


@MODELS.register_module()
class ShuffledBank:
    """A bank in which every novel word has the embedding of another novel word.

    The rows of the words with ``is_base`` False are permuted in one cycle, so none keeps its own (Sattolo's
    algorithm). The cycle runs over the sorted words: which word gets which embedding does not depend on their order
    in the vocabulary. Base rows are untouched.

    Args:
        bank: The bank to shuffle, or its config.
        seed: Chooses the cycle.
    """

    def __init__(self, bank: dict | TextBank, seed: int = 0) -> None:
        self.bank: TextBank = build_part(bank)
        self.seed = seed

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.bank.embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """Embed a vocabulary with its novel rows exchanged.

        Returns:
            (K, D) float32 unit rows on the CPU.

        Raises:
            VocabularyError: If exactly one word is novel: it has none to change places with.
        """
        return self.bank(vocabulary)[torch.tensor(exchanged_rows(vocabulary, self.seed))]


def exchanged_rows(vocabulary: Vocabulary, seed: int) -> list[int]:
    """For every word the row of the word that takes its place: itself for base words, another novel one for the others.

    Args:
        vocabulary: K words.
        seed: Chooses the cycle, see `ShuffledBank`.

    Raises:
        VocabularyError: If exactly one word is novel: it has none to change places with.
    """
    rows = list(range(len(vocabulary)))
    novel = [row for row in rows if not vocabulary.is_base[row]]
    if len(novel) == 1:
        raise VocabularyError(
            f"'{vocabulary.words[novel[0]]}' is the only novel word, so it cannot be shuffled. Add another."
        )
    target = sorted(novel, key=lambda row: vocabulary.words[row])
    source = list(target)
    generator = random.Random(seed)
    for last in range(len(source) - 1, 0, -1):
        other = generator.randrange(last)
        source[last], source[other] = source[other], source[last]
    for row, other in zip(target, source, strict=True):
        rows[row] = other
    return rows
