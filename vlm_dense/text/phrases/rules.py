"""Noun phrases by closed word lists: no model, no data to fetch.

A caption is cut into words; words of closed classes and what looks like a verb separate runs of other words, and the
runs are the phrases.
"""

from collections import deque

from vlm_dense.text.phrases.english import English, english
from vlm_dense.text.phrases.tokens import Token, tokenise
from vlm_dense.text.phrases.verbs import is_verb

LONGEST_NAME = 6  # words; LVIS has names of five

Run = tuple[int, int]  # first and last token


def rule_spans(caption: str) -> list[tuple[int, int]]:
    """Character spans of the noun phrases, from left to right."""
    tokens = tokenise(caption)
    runs = _listed_names(caption, tokens)
    if runs is None:
        runs = _runs_of_caption(tokens)
    return [(tokens[first].start, tokens[last].end) for first, last in runs]


def _listed_names(caption: str, tokens: list[Token]) -> list[Run] | None:
    """The names of a detector's prompt, 'person. traffic light. jack in the box.', or None where it is a caption."""
    segments: list[list[int]] = [[]]
    for row, token in enumerate(tokens):
        if token.text == '.' and (token.end == len(caption) or caption[token.end].isspace()):
            segments.append([])
        else:
            segments[-1].append(row)
    segments = [rows for rows in segments if rows]
    if len(segments) < 2 or not all(_is_name([tokens[row] for row in rows]) for rows in segments):
        return None
    return [(rows[0], rows[-1]) for rows in segments]


def _is_name(tokens: list[Token]) -> bool:
    words = [token.text for token in tokens]
    lists = english()
    if len(words) > LONGEST_NAME or words[0] in lists.closed or not any(token.has_letter for token in tokens):
        return False
    if {',', ';', '!', '?'} & set(words) or (lists.auxiliaries | lists.pronouns) & set(words[1:]):
        return False
    inner = [row for row, word in enumerate(words) if word in lists.determiners]
    return all(words[row] == 'the' and words[row - 1] in ('in', 'of', 'on') for row in inner)


def _runs_of_caption(tokens: list[Token]) -> list[Run]:
    lists = english()
    is_closed = _closed_tokens(tokens, lists)
    is_content: list[bool] = []
    for row, token in enumerate(tokens):
        closed = not token.is_word or is_closed[row]
        is_content.append(not closed and not is_verb(tokens, row, is_closed, is_content))
    runs = [run for run in _runs(tokens, is_content) if not _only_counts(tokens, run, lists)]
    return _join_adjectives(tokens, runs, lists)


def _closed_tokens(tokens: list[Token], lists: English) -> list[bool]:
    """Which tokens belong to closed classes or to a preposition of several words."""
    words = [token.text for token in tokens]
    is_closed = [word in lists.closed for word in words]
    for row in range(len(words)):
        for relation in lists.relations:
            if words[row] == relation[0] and tuple(words[row : row + len(relation)]) == relation:
                is_closed[row : row + len(relation)] = [True] * len(relation)
                break
    return is_closed


def _runs(tokens: list[Token], is_content: list[bool]) -> list[Run]:
    """Longest stretches of content words, without numbers at the front."""
    runs: list[Run] = []
    first = None
    for row, content in enumerate([*is_content, False]):
        if content and first is None and tokens[row].has_letter:
            first = row
        elif not content and first is not None:
            runs.append((first, row - 1))
            first = None
    return runs


def _only_counts(tokens: list[Token], run: Run, lists: English) -> bool:
    """'a large group' of people, 'a photo' of a cat: the phrase that matters comes after 'of'."""
    after = run[1] + 1
    return tokens[run[1]].text in lists.quantities and after < len(tokens) and tokens[after].text == 'of'


def _join_adjectives(tokens: list[Token], runs: list[Run], lists: English) -> list[Run]:
    """Join 'black' and 'white cat'; drop adjectives without a noun, as in 'the bus is red'."""
    joined: list[Run] = []
    rest = deque(runs)
    while rest:
        first, last = part = rest.popleft()
        while rest and _is_modifier_of(tokens, part, rest[0], lists):
            part = rest.popleft()
            last = part[1]
        words = [token.text for token in tokens[first : last + 1] if token.is_word]
        if not all(word in lists.adjectives or word in lists.conjunctions for word in words):
            joined.append((first, last))
    return joined


def _is_modifier_of(tokens: list[Token], run: Run, after: Run, lists: English) -> bool:
    words = [token.text for token in tokens[run[0] : run[1] + 1]]
    link = tokens[run[1] + 1].text
    if after[0] != run[1] + 2 or link not in ('and', 'or', ','):
        return False
    if run[0] > 0 and tokens[run[0] - 1].text in lists.auxiliaries:  # 'the sky is blue and people are walking'
        return False
    if link != ',' and all(word in lists.adjectives for word in words):
        return True
    loose = lists.adjectives | lists.adjectives_or_nouns
    leads_to_noun = tokens[after[0]].text in loose and (after[1] > after[0] or link == ',')
    return leads_to_noun and all(word in loose for word in words)
