"""The word lists of ``english.json``, as sets."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class English:
    """Closed classes of English and the verbs of captions; all words in lower case.

    ``closed`` holds every word that cannot be part of a noun phrase or only leads one in (determiners). ``relations``
    are prepositions of several words, the longest first.
    """

    determiners: frozenset[str]
    pronouns: frozenset[str]
    conjunctions: frozenset[str]
    auxiliaries: frozenset[str]
    adverbs: frozenset[str]
    closed: frozenset[str]
    relations: tuple[tuple[str, ...], ...]
    quantities: frozenset[str]
    adjectives: frozenset[str]
    adjectives_or_nouns: frozenset[str]
    transitive_ing: frozenset[str]
    other_ing: frozenset[str]
    third_person: frozenset[str]
    third_person_or_plural: frozenset[str]
    base: frozenset[str]
    base_or_noun: frozenset[str]
    base_only: frozenset[str]
    past: frozenset[str]
    past_or_noun: frozenset[str]
    nouns_in_ing: frozenset[str]
    nouns_in_ed: frozenset[str]
    compounds: frozenset[str]
    plurals: frozenset[str]
    before_participle: frozenset[str]
    before_third_person: frozenset[str]
    before_base: frozenset[str]


@cache
def english() -> English:
    """Read the lists, once per process."""
    content = json.loads((files('vlm_dense.text.phrases') / 'english.json').read_text(encoding='utf-8'))
    content |= content.pop('verbs')
    relations = sorted((tuple(text.split()) for text in content.pop('relations').split('|')), key=len, reverse=True)
    compounds = frozenset(content.pop('compounds').split('|'))
    sets = {key: frozenset(words.split()) for key, words in content.items() if key != 'source'}
    sets['closed'] = frozenset().union(
        *(sets[key] for key in ('determiners', 'pronouns', 'conjunctions', 'auxiliaries', 'adverbs')),
        sets.pop('prepositions'),
    )
    return English(relations=tuple(relations), compounds=compounds, **sets)
