"""The words to ask for where a picture brings its own phrases."""

from collections.abc import Sequence

from vlm_dense.text.vocabulary import Vocabulary


def phrase_vocabulary(phrases: Sequence[str]) -> tuple[Vocabulary, list[int]]:
    """The distinct phrases as words, in the order in which they first stand, and the row of every phrase.

    Args:
        phrases: At least one; equal ones, as a vocabulary compares words, share a row.

    Raises:
        VocabularyError: If a phrase cannot be a word.
    """
    vocabulary = Vocabulary.from_words(phrases, dedupe=True)
    return vocabulary, [vocabulary.index(phrase) for phrase in phrases]
