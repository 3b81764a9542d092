"""English articles for words in prompts: 'a' or 'an' by sound, and none before a plural."""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any

# Where inflect follows the spelling and English follows the sound: numbers (8 is eight, 11 eleven, 18 eighteen),
# single letters, abbreviations that are spelled out, and words taken from other languages.
_AN_EXCEPTION = re.compile(
    r"(8|1[18](?:[,.]?\d{3})*(?!\d)|[aefhilmnorsx](?![a-z'’])|hors[ -]d|usher"
    r'|(?:hdtv|lcd|led|mp3|mri|rv|sos|suv|xl)s?\b)'
)
_A_EXCEPTION = re.compile(r'(ewer|onesie|ouija|uakari|u(?![a-z]))')

# Words in 's' that are one thing; and words in 'us' and 'is', singular otherwise (bus, tennis), that are several.
_SINGULAR_IN_S = re.compile(
    r'(alias|ananas|atlas|bias|biceps|camas|canvas|chaos|christmas|corps|cosmos|crossroads|cyclops|eyas|gallows|gas'
    r'|headquarters|innings|lazybones|lens|madras|means|mercedes|pampas|pancreas|patas|pothos|quadriceps|reredos'
    r'|rhinoceros|sassafras|sawbones|scops|series|species|sweepstakes|thermos|triceps|triceratops|velours|waterworks'
    r'|yellowlegs|.*(ss|us|is))'
)
_PLURAL_IN_US_AND_IS = re.compile(
    r'(alibis|bikinis|chilis|emus|gnus|gurus|jacuzzis|kepis|khakis|kiwis|levis|martinis|menus|okapis|paninis|safaris'
    r'|skis|taxis|tutus|yetis|zucchinis)'
)
_PLURAL_WITHOUT_S = re.compile(
    r'(algae|bacteria|cattle|dice|feet|geese|kine|lice|(?:dor)?mice|oxen|police|\w*teeth'
    r'|\w*children|\w*people|\w*women|(?!(?:abdo|acu|albu|cycla|dol|hy|o|ra|se|speci|sta|turk)men)\w*men)'
)
# 'chest of drawers' is one chest, 'lily-of-the-valley' one lily.
_AFTER_THE_HEAD = re.compile(r'[(,/].*|[ -](?:of|at)[ -].*| (?:in|on|with|without|for|from|to) .*')


@lru_cache(maxsize=1 << 16)
def indefinite_article(word: str) -> str:
    """'a' or 'an', by the sound that a word starts with, as for a single thing.

    The rules are those of the inflect package, with its few mistakes on numbers, single letters and spelled-out
    abbreviations mended; accents are ignored. Where usage is divided ('a herb') it is the British one.
    """
    decomposed = ' '.join(unicodedata.normalize('NFKD', word).split())
    plain = ''.join(letter for letter in decomposed if not unicodedata.combining(letter)).strip(' \'"‘’“”([')
    if not (plain[:1].isascii() and plain[:1].isalnum()) or _A_EXCEPTION.match(plain.lower()):
        return 'a'
    if _AN_EXCEPTION.match(plain.lower()):
        return 'an'
    return 'an' if _inflect().a(plain).startswith('an ') else 'a'


def article_or_none(word: str) -> str:
    """'a' or 'an' for one thing, '' for a plural: 'scissors', 'people', 'French fries', 'bunches of grapes'.

    Whether a word is plural is decided by the last word before a preposition, a comma, a slash or a bracket, by its
    spelling and lists of irregular ones. Words that are not counted ('broccoli', 'grass', 'furniture') look like any
    singular and get an article all the same: no spelling tells them apart. Latin names of species that end in 's'
    are taken for plurals.
    """
    return '' if is_plural(word) else indefinite_article(word)


def first_letter_article(word: str) -> str:
    """ViLD's rule: 'an' where the first letter, as written, is one of a, e, i, o, u."""
    return 'an' if word[:1] in tuple('aeiou') else 'a'


def is_plural(word: str) -> bool:
    """Whether the head noun of an English name is plural, as far as its spelling tells."""
    head = re.split(r'[ \-]+', _AFTER_THE_HEAD.sub('', ' '.join(word.casefold().split())).strip(' -'))[-1]
    if _PLURAL_IN_US_AND_IS.fullmatch(head) or _PLURAL_WITHOUT_S.fullmatch(head):
        return True
    return head.endswith('s') and len(head) > 3 and not _SINGULAR_IN_S.fullmatch(head) and head[-2] not in "'’"


@cache
def _inflect() -> Any:
    import inflect  # takes seconds to import

    return inflect.engine()
