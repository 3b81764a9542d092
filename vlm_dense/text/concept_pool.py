"""A pool of words that captions speak of, counted.

Source: RegionCLIP (arXiv:2112.09106), Sec. 3.2 and 4: the objects that captions name, without those named rarely.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from vlm_dense.errors import ConfigError, StorageError, VocabularyError
from vlm_dense.folders import whole_file
from vlm_dense.text.phrases import noun_phrases
from vlm_dense.text.word_checks import normalise_word

Unit = Literal['phrases', 'heads']


@dataclass(frozen=True)
class ConceptPool:
    """Words and how often they were counted, most frequent first, equal ones in alphabetical order.

    Args:
        words: Each once, as words are compared.
        counts: In how many captions each stands, plus once for every list that names it.
        captions: How many captions were read.
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    captions: int

    def write(self, path: str | PathLike[str]) -> None:
        """Write a json file that ``Vocabulary.build`` reads; it keeps the counts beside the words.

        Raises:
            StorageError: If it cannot be written.
        """
        content = dict(words=list(self.words), counts=list(self.counts), captions=self.captions)
        try:
            with whole_file(Path(path)) as part:
                part.write_text(json.dumps(content, ensure_ascii=False, indent=1) + '\n', encoding='utf-8')
        except OSError as error:
            raise StorageError(f"cannot write the pool '{path}' ({error}). Choose another place.") from error


def caption_nouns(
    caption: str, unit: Unit = 'phrases', method: str = 'rules', model: str | PathLike[str] | None = None
) -> list[str]:
    """The different nouns of a caption, in the order in which they first stand in it.

    Args:
        caption: Any text.
        unit: 'phrases' takes whole noun phrases, 'large red dog'; 'heads' the last word of each, 'dog'.
        method: Of `noun_phrases`.
        model: As there.

    Raises:
        ConfigError: If there is no such unit or method.
        MissingFileError: If what the method needs is not there.
    """
    check_unit(unit)
    found = [phrase.text for phrase in noun_phrases(caption, method, model)]
    nouns = [phrase.split()[-1] for phrase in found] if unit == 'heads' else found
    return list({normalise_word(noun): noun for noun in nouns}.values())


def check_unit(unit: str) -> None:
    """Refuse what is no `Unit`.

    Raises:
        ConfigError: If it is none.
    """
    if unit not in ('phrases', 'heads'):
        raise ConfigError(f"unit={unit!r}; choose 'phrases' or 'heads'.")


class ConceptCounter:
    """Counts noun phrases, a caption or a list at a time.

    Args:
        unit: Of `caption_nouns`.
        method: Of `noun_phrases`.
        model: As there.

    Raises:
        ConfigError: If ``unit`` is neither of its two values.
    """

    def __init__(self, unit: Unit = 'phrases', method: str = 'rules', model: str | PathLike[str] | None = None) -> None:
        check_unit(unit)
        self.unit, self.method, self.model = unit, method, model
        self.captions = 0
        self._counts: Counter[str] = Counter()
        self._listed: set[str] = set()
        self._spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add_captions(self, captions: Iterable[str]) -> None:
        """Count every word once per caption.

        Raises:
            ConfigError: If there is no such method.
            MissingFileError: If what the method needs is not there.
        """
        for caption in captions:
            self.captions += 1
            self._count(caption_nouns(caption, self.unit, self.method, self.model))

    def add_words(self, words: Iterable[str]) -> None:
        """Count words of a list; they stay in the pool however rare they are."""
        words = list(words)
        self._listed |= {normalise_word(word) for word in words}
        self._count(words)

    def pool(self, min_count: int = 1, blacklist: Iterable[str] = (), max_words: int | None = None) -> ConceptPool:
        """The words that were counted often enough.

        Args:
            min_count: Words counted less often are left out, unless a list named them.
            blacklist: Words to leave out, listed or not.
            max_words: At most so many, the most frequent.

        Raises:
            VocabularyError: If no word is left.
        """
        refused = {normalise_word(word) for word in blacklist}
        kept = [
            (-count, key)
            for key, count in self._counts.items()
            if key not in refused and (count >= min_count or key in self._listed)
        ]
        if not kept:
            raise VocabularyError(
                f'none of {len(self._counts)} words of {self.captions} captions is counted {min_count} times and not '
                'in the blacklist. Lower min_count, or give more captions.'
            )
        chosen = sorted(kept)[:max_words]
        return ConceptPool(
            tuple(self._spelling(key) for _, key in chosen), tuple(-count for count, _ in chosen), self.captions
        )

    def _count(self, words: Iterable[str]) -> None:
        spellings = {normalise_word(word): word for word in words}
        for key, word in spellings.items():
            self._counts[key] += 1
            self._spellings[key][word] += 1

    def _spelling(self, key: str) -> str:
        return min(self._spellings[key].items(), key=lambda item: (-item[1], item[0]))[0]
