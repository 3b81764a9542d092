"""One entry for every way of finding noun phrases."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike

from vlm_dense.errors import ConfigError
from vlm_dense.text.phrases.rules import rule_spans
from vlm_dense.text.phrases.taggers import nltk_spans, spacy_spans


@dataclass(frozen=True)
class Phrase:
    """A noun phrase; ``caption[start:end] == text`` for the caption that it was found in."""

    text: str
    start: int
    end: int


def noun_phrases(caption: str, method: str = 'rules', model: str | PathLike[str] | None = None) -> list[Phrase]:
    """Find the noun phrases of a caption, without their determiners, from left to right and without overlap.

    ``rules`` needs nothing: words of closed classes (a, with, and, is, very ...) and verbs that are common in captions
    cut the caption, and what is left between them are the phrases. A text of names separated by '. ', as GLIP and
    Grounding DINO read them, gives one phrase per name, whole. It is made for English captions in the present tense.
    It cannot know the part of speech of a word that no list holds: an unusual verb stays glued to its neighbours ('dog
    gnaws bone' is one phrase), a verb in the past with a bare object too, and names joined by 'and' fall apart
    ('bow' and 'arrow'). Captions of several short sentences without articles ('man riding horse. dog sleeping.') are
    taken for names. Other languages are cut at punctuation only. Where that is not good enough, use a tagger.

    ``spacy`` takes the noun chunks of a spaCy pipeline, ``nltk`` runs of adjectives and nouns that end in a noun
    (close to the grammar of GLIP, arXiv:2112.03857) by NLTK's perceptron tagger. Neither package nor its data is ever
    fetched here.

    Args:
        caption: Any text.
        method: 'rules', 'spacy' or 'nltk'.
        model: For 'spacy' the name or folder of a pipeline with a parser (``en_core_web_sm`` where not given); for
            'nltk' a folder of NLTK data to search first.

    Raises:
        ConfigError: If the method is unknown or the pipeline has no parser.
        MissingFileError: If the package or its data are not there; the message holds the command that fetches them.
    """
    if method not in METHODS:
        close = get_close_matches(method, METHODS, n=1)
        guess = f" Did you mean '{close[0]}'?" if close else ''
        raise ConfigError(f"unknown method '{method}' for noun phrases.{guess} The methods are {', '.join(METHODS)}.")
    return [Phrase(caption[start:end], start, end) for start, end in METHODS[method](caption, model)]


METHODS: dict[str, Callable[[str, str | PathLike[str] | None], list[tuple[int, int]]]] = {
    'rules': lambda caption, model: rule_spans(caption),
    'spacy': spacy_spans,
    'nltk': nltk_spans,
}
