"""Which words a caption with boxes asks for, and which boxes are whose."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from vlm_dense.datasets.odvg_lines import Span, boxes_of, places_of
from vlm_dense.text.phrases import Phrase, noun_phrases
from vlm_dense.text.prompt_packing import Prompt, caption_prompt
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.text.word_checks import normalise_word


class CaptionRows(NamedTuple):
    """A caption as a request, and its boxes.

    Args:
        vocabulary: A word per row, all base.
        prompt: The caption, with the places of every row.
        boxes: xyxy in pixels, each once.
        labels: The row of every box.
    """

    vocabulary: Vocabulary
    prompt: Prompt
    boxes: list[list[float]]
    labels: list[int]


def caption_rows(caption: str, regions: Sequence[Mapping[str, Any]]) -> CaptionRows:
    """One row per set of places in the caption that belongs to a box.

    Places are what GLIP (arXiv:2112.03857) aligns boxes with, not strings. 'a man' here and 'a man' there are two rows
    where their boxes differ, the second with the word 'a man (2)'; boxes that have both places share a row with both. A
    box that stands under two phrases, 'a man' and 'the rider', is one box with the places of both and the word
    'a man, the rider': twice in the list, the two would compete for the same anchors.

    Args:
        caption: The whole text.
        regions: ODVG regions with a box each at least.

    Raises:
        VocabularyError: If a phrase cannot be a word.
    """
    places: dict[tuple[float, ...], set[Span]] = {}
    phrase_at: dict[Span, str] = {}
    for region in regions:
        spans = places_of(region, caption)
        phrase_at |= dict.fromkeys(spans, region['phrase'])
        for box in boxes_of(region):
            places.setdefault(tuple(map(float, box)), set()).update(spans)
    keys = sorted({tuple(sorted(spans)) for spans in places.values()})
    names = distinct_names(', '.join(dict.fromkeys(phrase_at[span] for span in key)) for key in keys)
    row_of = {key: row for row, key in enumerate(keys)}
    labels = [row_of[tuple(sorted(spans))] for spans in places.values()]
    vocabulary = Vocabulary.from_words(names, base=names)
    return CaptionRows(vocabulary, caption_prompt(caption, keys), [list(box) for box in places], labels)


def phrase_rows(
    caption: str, method: str = 'rules', model: str | PathLike[str] | None = None
) -> tuple[Vocabulary, Prompt]:
    """The noun phrases of a caption without boxes: a row per phrase, with all its places.

    Args:
        caption: The whole text; without a noun phrase it is its own, only row.
        method: As `vlm_dense.text.phrases.noun_phrases` takes it.
        model: As there.

    Raises:
        VocabularyError: If the caption is empty or a phrase cannot be a word.
    """
    found = noun_phrases(caption, method, model) or [Phrase(caption, 0, len(caption))]
    places: dict[str, list[Span]] = {}
    for phrase in found:
        places.setdefault(normalise_word(phrase.text), []).append((phrase.start, phrase.end))
    words = Vocabulary.from_words([phrase.text for phrase in found], dedupe=True)
    return words, caption_prompt(caption, list(places.values()))


def distinct_names(names: Iterable[str]) -> list[str]:
    """Names that no vocabulary takes for the same word: a repeated one gets a number, 'a man (2)'."""
    seen: set[str] = set()
    distinct = []
    for name in names:
        number, candidate = 1, name
        while normalise_word(candidate) in seen:
            number += 1
            candidate = f'{name} ({number})'
        seen.add(normalise_word(candidate))
        distinct.append(candidate)
    return distinct
