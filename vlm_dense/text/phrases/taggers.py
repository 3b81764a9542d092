"""Noun phrases by spaCy or NLTK, where the user has them with their data."""

from functools import cache
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.text.phrases.english import english
from vlm_dense.text.phrases.tokens import tokenise

SPACY_PIPELINE = 'en_core_web_sm'
NLTK_TAGGER = 'averaged_perceptron_tagger_eng'


def spacy_spans(caption: str, model: str | PathLike[str] | None) -> list[tuple[int, int]]:
    """Character spans of spaCy's noun chunks without determiners; chunks of one pronoun are left out."""
    name = fspath(model) if model is not None else SPACY_PIPELINE
    pipeline = _spacy_pipeline(name)
    try:
        chunks = [(chunk.start_char, chunk.end_char) for chunk in pipeline(caption).noun_chunks]
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"the spaCy pipeline '{name}' finds no noun chunks: {error}. Use one with a parser: {SPACY_PIPELINE}."
        ) from error
    return _without_determiners(caption, chunks)


@cache
def _spacy_pipeline(name: str) -> Any:
    _require('spacy')
    import spacy

    try:
        return spacy.load(name)
    except OSError as error:
        raise MissingFileError(
            f"the spaCy pipeline '{name}' is neither an installed package nor a folder. "
            f'Fetch it: python -m spacy download {SPACY_PIPELINE}; or name the folder of one.'
        ) from error


def nltk_spans(caption: str, model: str | PathLike[str] | None) -> list[tuple[int, int]]:
    """Character spans of runs of adjectives and nouns that end in a noun, by NLTK's tags."""
    _require('nltk')
    import nltk

    if model is not None and fspath(model) not in nltk.data.path:
        nltk.data.path.insert(0, fspath(model))
    tokens = tokenise(caption)
    try:
        tags = [tag for _, tag in nltk.pos_tag([caption[token.start : token.end] for token in tokens])]
    except LookupError as error:
        places = ', '.join(f"'{Path(folder)}'" for folder in nltk.data.path)
        raise MissingFileError(
            f'the NLTK data {NLTK_TAGGER} are in none of {places}. Fetch them: python -m nltk.downloader {NLTK_TAGGER}'
        ) from error
    spans: list[tuple[int, int]] = []
    first = None
    for row, tag in enumerate([*tags, '']):
        is_word = row < len(tokens) and tokens[row].is_word
        if is_word and tag.startswith(('JJ', 'NN')):
            first = row if first is None else first
        elif first is not None:
            nouns = [noun for noun in range(first, row) if tags[noun].startswith('NN')]
            if nouns:
                spans.append((tokens[first].start, tokens[nouns[-1]].end))
            first = None
    return _without_determiners(caption, spans)


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise MissingFileError(
            f"the package '{package}' is not installed. Install it: pip install {package}; or use method='rules'."
        )


def _without_determiners(caption: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    lists = english()
    kept = []
    for start, end in spans:
        tokens = tokenise(caption[start:end])
        while tokens and (not tokens[0].is_word or tokens[0].text in lists.determiners or not tokens[0].has_letter):
            tokens = tokens[1:]
        if tokens and not all(token.text in lists.pronouns for token in tokens):
            kept.append((start + tokens[0].start, start + tokens[-1].end))
    return kept
