"""Many words asked for by few texts: prompts of detectors that read their words as one sentence.

GLIP (Li et al., arXiv:2112.03857, section 3.1) joins the names of all classes: 'person. bicycle. car'. A text window
holds some of a long vocabulary, so it is spread over as many prompts as needed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vlm_dense.errors import VocabularyError
from vlm_dense.text.encoders.base import check_token_counts, shorten
from vlm_dense.text.encoders.spans import Span

SEPARATOR = '. '
PROBE = 'x'
IN_PARENTHESES = re.compile(r'\(.*\)')
DESCRIPTION = ('prefix', 'name', 'suffix')

CountTokens = Callable[[Sequence[str]], list[int]]
Descriptions = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Prompt:
    """One text that asks for some words of a vocabulary.

    Args:
        text: What is read.
        rows: The rows of the vocabulary that it asks for, K of them.
        spans: For each of these, the places in the text where the word stands: first character and one past the last.
    """

    text: str
    rows: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]

    def phrases(self) -> list[str]:
        """What is read for each of the K words: two men of one caption are 'a man' both, whatever their words are."""
        return [' '.join(self.text[start:end] for start, end in places) for places in self.spans]


@dataclass(frozen=True)
class WordText:
    """What a prompt says for one word; a region is compared with ``name`` alone."""

    name: str
    prefix: str = ''
    suffix: str = ''

    def __str__(self) -> str:
        return f'{self.prefix}{self.name}{self.suffix}'


def clean_name(word: str) -> str:
    """A category's name as GLIP reads it: without what is in parentheses, underscores as blanks.

    Equal to mmdet's ``clean_label_name``.
    """
    return IN_PARENTHESES.sub('', word).replace('_', ' ').replace('  ', ' ')


def word_texts(words: Sequence[str], clean: bool = False, described: Descriptions | None = None) -> list[WordText]:
    """What is read for each of K words.

    Args:
        words: The caller's words, which results carry whatever is read for them.
        clean: Read `clean_name` of each.
        described: By word (as given, or cleaned), any of 'prefix', 'name' and 'suffix': the name replaces the word, the
            others stand around it (ODinW's caption prompts).

    Raises:
        VocabularyError: If nothing is left of a word, or a description is for no word or has other keys.
    """
    described = described or {}
    found = []
    used = set()
    for word in words:
        name = clean_name(word) if clean else word
        key = word if word in described else name
        parts = dict(described.get(key, {}))
        used.add(key)
        if unknown := sorted(set(parts) - set(DESCRIPTION)):
            raise VocabularyError(
                f"the description of '{shorten(word)}' has '{unknown[0]}'; write {', '.join(DESCRIPTION)}."
            )
        text = WordText(parts.get('name', name), parts.get('prefix', ''), parts.get('suffix', ''))
        if not text.name.strip():
            raise VocabularyError(f"nothing of '{shorten(word)}' is left to be read. Rename it, or describe it.")
        found.append(text)
    if unused := sorted(set(described) - used):
        raise VocabularyError(
            f"'{shorten(unused[0])}' is described, but is not among the {len(words)} words. Correct its spelling."
        )
    return found


def join_words(texts: Sequence[WordText], rows: Sequence[int]) -> Prompt:
    """One prompt for K words, which stand in the given rows of a vocabulary."""
    spans = []
    pieces = []
    place = 0
    for text in texts:
        start = place + len(text.prefix)
        spans.append(((start, start + len(text.name)),))
        pieces.append(str(text))
        place += len(pieces[-1]) + len(SEPARATOR)
    return Prompt(SEPARATOR.join(pieces), tuple(rows), tuple(spans))


def pack_words(
    words: Sequence[str | WordText],
    count_tokens: CountTokens,
    max_tokens: int,
    words_per_prompt: int | None = None,
) -> list[Prompt]:
    """Ask for all words, in their order, in as few prompts as hold them.

    Args:
        words: K words, or what `word_texts` made of them.
        count_tokens: Tokens of each of several texts, special tokens included and nothing cut.
        max_tokens: The longest prompt.
        words_per_prompt: At most so many words in one (mmdet's ``chunked_size``, 40 for LVIS); then a prompt begins at
            every so many-th word, as there, and a group that is too long is split.

    Returns:
        Prompts that were counted and are not too long; their rows are 0..K-1 in order.

    Raises:
        VocabularyError: If one word alone is too long, with both numbers, or makes no token at all.
    """
    texts = [word if isinstance(word, WordText) else WordText(word) for word in words]
    lengths, marks, separator = _lengths(texts, count_tokens, max_tokens)
    group = words_per_prompt or max(len(texts), 1)
    planned = [
        rows
        for start in range(0, len(texts), group)
        for rows in _fill(range(len(texts))[start : start + group], lengths, max_tokens - marks, separator)
    ]
    packed: list[Prompt] = []
    while planned:
        # What stands side by side can make other tokens than alone, so only this count is the last word.
        prompts = [join_words([texts[row] for row in rows], rows) for rows in planned]
        counts = count_tokens([prompt.text for prompt in prompts])
        packed.extend(prompt for prompt, count in zip(prompts, counts, strict=True) if count <= max_tokens)
        planned = [
            half
            for rows, count in zip(planned, counts, strict=True)
            if count > max_tokens
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :])
        ]
    return sorted(packed, key=lambda prompt: prompt.rows)


def one_prompt(words: Sequence[str | WordText], count_tokens: CountTokens, max_tokens: int) -> Prompt:
    """Ask for all words in one prompt.

    Raises:
        VocabularyError: If they do not fit, with the numbers, or as `pack_words`.
    """
    prompts = pack_words(words, count_tokens, max_tokens)
    if len(prompts) == 1:
        return prompts[0]
    texts = [word if isinstance(word, WordText) else WordText(word) for word in words]
    (count,) = count_tokens([join_words(texts, range(len(texts))).text])
    raise VocabularyError(
        f'{len(words)} words take {count} tokens in one prompt, and {max_tokens} fit. Training asks for all words of a '
        'sample at once: sample fewer of them for every picture.'
    )


def caption_prompt(text: str, spans: Sequence[Sequence[Span]]) -> Prompt:
    """A caption that asks for the K phrases in it.

    Args:
        text: The caption.
        spans: Per phrase its places in the caption; the K phrases are rows 0..K-1 of the vocabulary.

    Raises:
        VocabularyError: If a phrase has no place, or one that is empty, blank or outside the caption.
    """
    for row, places in enumerate(spans):
        for start, end in places or [(0, 0)]:
            if not (0 <= start < end <= len(text) and text[start:end].strip()):
                raise VocabularyError(
                    f"phrase {row} of '{shorten(text)}' stands at {start}..{end}, where there is no word; the caption "
                    f'has {len(text)} characters. Correct its places.'
                )
    return Prompt(text, tuple(range(len(spans))), tuple(tuple((start, end) for start, end in s) for s in spans))


def _lengths(texts: Sequence[WordText], count_tokens: CountTokens, max_tokens: int) -> tuple[list[int], int, int]:
    """Tokens of each word without special ones, the number of special ones, tokens of the separator."""
    asked = [f'{PROBE}{SEPARATOR}{PROBE}', PROBE, '', *map(str, texts), *(text.name for text in texts)]
    pair, single, marks, *counts = count_tokens(asked)
    whole, names = counts[: len(texts)], counts[len(texts) :]
    check_token_counts(asked[3 : 3 + len(texts)], whole, max_tokens)
    for text, count in zip(texts, names, strict=True):
        if count <= marks:
            raise VocabularyError(
                f"nothing of '{shorten(text.name)}' is left in its tokens. Write it in other letters."
            )
    return [count - marks for count in whole], marks, pair - 2 * single + marks


def _fill(rows: Sequence[int], lengths: Sequence[int], room: int, separator: int) -> list[Sequence[int]]:
    """Cut a run of rows wherever the next word would not fit."""
    cuts = []
    start, used = 0, 0
    for place, row in enumerate(rows):
        needed = lengths[row] + (separator if place > start else 0)
        if place > start and used + needed > room:
            cuts.append(rows[start:place])
            start, used, needed = place, 0, lengths[row]
        used += needed
    return [*cuts, rows[start:]]
