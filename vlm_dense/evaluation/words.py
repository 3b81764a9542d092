"""Which word of a request stands for which name of the ground truth: by name, never by position."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.text.vocabulary import Vocabulary, normalise_word

SHOWN = 10


def match_words(words: Sequence[str], names: Sequence[str], place: str, allow_missing: bool = False) -> list[int]:
    """The position in ``names`` of every word, -1 for a word that the ground truth does not have.

    Words and names are compared as a vocabulary compares its words (case and white space do not matter).

    Args:
        words: The words of the request, in its order.
        names: What the ground truth calls things, each different.
        place: Where the names come from, for the message.
        allow_missing: Leave names without a word out instead of raising.

    Raises:
        DataError: If two names are equal, or a name has no word and ``allow_missing`` is False.
    """
    position = {normalise_word(name): row for row, name in enumerate(names)}
    if len(position) < len(names):
        twice = [name for row, name in enumerate(names) if position[normalise_word(name)] != row]
        raise DataError(f'{place} gives several categories the name {_listed(twice)}; rename all but one.')
    keys = [normalise_word(word) for word in words]
    asked = set(keys)
    missing = [names[row] for key, row in position.items() if key not in asked]
    if missing and not allow_missing:
        raise DataError(
            f'{place} has {len(names)} categories of which the vocabulary lacks {len(missing)}: '
            f'{_listed(missing, words)}; add them to the vocabulary, spelled alike, '
            'or set allow_missing=True to leave them out.'
        )
    return [position.get(key, -1) for key in keys]


def request_vocabulary(sample: Mapping) -> Vocabulary:
    """The words that a prediction (as a dictionary) carries.

    Raises:
        ConfigError: If it carries none.
    """
    vocabulary = sample.get('vocabulary')
    if vocabulary is None:
        raise ConfigError(
            'a prediction carries no vocabulary, so its labels mean nothing; '
            'put dict(type="vlm_dense.AttachVocabulary", vocabulary=...) last in the pipeline of the evaluated data.'
        )
    return vocabulary


def same_vocabulary(known: Vocabulary | None, sample: Mapping) -> Vocabulary:
    """The vocabulary of a whole evaluation: that of this sample, which must equal the one known so far.

    Raises:
        ConfigError: If the sample carries none, or another one.
    """
    vocabulary = request_vocabulary(sample)
    if known is None or vocabulary is known or vocabulary == known:
        return vocabulary if known is None else known
    raise ConfigError(
        f'two pictures of one evaluation ask for different vocabularies ({len(known)} and {len(vocabulary)} words); '
        'evaluate them separately.'
    )


def _listed(names: Iterable[str], words: Sequence[str] = ()) -> str:
    names = list(names)
    parts = []
    for name in names[:SHOWN]:
        close = get_close_matches(name, words, n=1, cutoff=0.8)
        parts.append(f"'{name}' (closest word: '{close[0]}')" if close else f"'{name}'")
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(parts) + more
