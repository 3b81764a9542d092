"""Telling verbs from nouns and participles by their neighbours."""

from dataclasses import dataclass

from vlm_dense.text.phrases.english import English, english
from vlm_dense.text.phrases.tokens import Token


@dataclass(frozen=True)
class Neighbours:
    """What stands around a word; '' is a limit of the caption or punctuation.

    ``follows_noun``: the word before is part of a noun phrase. ``leads_on``: a word of a closed class comes next that
    is no conjunction. ``noun_may_follow``: a word of no closed class comes next.
    """

    before: str
    after: str
    follows_noun: bool
    leads_on: bool
    noun_may_follow: bool


def is_verb(tokens: list[Token], row: int, is_closed: list[bool], is_content: list[bool]) -> bool:
    """Whether a word is used as a verb.

    Args:
        tokens: Those of the caption.
        row: The word in question, of no closed class.
        is_closed: For every token, whether it belongs to a closed class.
        is_content: For the tokens before ``row``, whether they are part of a noun phrase.
    """
    lists = english()
    word = tokens[row].text
    before = tokens[row - 1].text if row and tokens[row - 1].is_word else ''
    if before == 'to' and row > 1 and is_closed[row - 2]:
        before = 'of'  # the 'to' of 'next to' leads to a noun as 'of' does, not to a verb
    after = tokens[row + 1].text if row + 1 < len(tokens) and tokens[row + 1].is_word else ''
    around = Neighbours(
        before,
        after,
        follows_noun=bool(before) and is_content[row - 1],
        leads_on=bool(after) and is_closed[row + 1] and after not in lists.conjunctions,
        noun_may_follow=bool(after) and not is_closed[row + 1],
    )
    return (
        _is_present_participle(word, around, lists)
        or _is_third_person(word, around, lists)
        or _is_base_form(word, around, lists)
        or _is_past(word, around, lists)
    )


def _is_present_participle(word: str, around: Neighbours, lists: English) -> bool:
    is_known = word in lists.transitive_ing or word in lists.other_ing
    if not (is_known or (word.endswith('ing') and len(word) > 5)):
        return False
    if word in lists.nouns_in_ing or f'{word} {around.after}' in lists.compounds:
        return False
    if not around.noun_may_follow:
        return True
    if around.follows_noun:  # 'man riding horses', but 'stainless steel serving dish' is beyond these rules
        return is_known
    cues = lists.before_participle | lists.auxiliaries | lists.adverbs | {''}
    return around.before in cues and word in lists.transitive_ing


def _is_third_person(word: str, around: Neighbours, lists: English) -> bool:
    has_subject = around.follows_noun or around.before in lists.before_third_person
    return has_subject and (word in lists.third_person or (word in lists.third_person_or_plural and around.leads_on))


def _is_base_form(word: str, around: Neighbours, lists: English) -> bool:
    if around.before in lists.before_base:
        return word in lists.base or word in lists.base_or_noun
    if around.follows_noun and _looks_plural(around.before, lists):
        return word in lists.base or (word in lists.base_or_noun and around.leads_on)
    return around.follows_noun and around.leads_on and word in lists.base_only


def _is_past(word: str, around: Neighbours, lists: English) -> bool:
    if word in lists.past_or_noun:
        return around.before in lists.auxiliaries
    looks_past = word in lists.past or (word.endswith('ed') and len(word) > 4 and word not in lists.nouns_in_ed)
    return looks_past and not around.noun_may_follow


def _looks_plural(word: str, lists: English) -> bool:
    return word in lists.plurals or (word.endswith('s') and not word.endswith(('ss', 'us', 'is', "'s")))
