"""A file of words as this project writes them: an object with ``words``, and perhaps other columns."""

from typing import Any

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.records import check_distinct, check_words, text_field
from vlm_dense.text.word_table import COLUMNS


def check_word_list(content: dict[str, Any], options: CheckOptions, defects: Defects) -> None:
    """Check the words by themselves and against the vocabulary.

    Args:
        content: The json.
        options: The vocabulary to compare with.
        defects: Filled.
    """
    defects.format = 'words'
    words = content['words']
    if not isinstance(words, list):
        defects.add('no-record', 'words', f'is {str(words)[:40]}, not a list')
        return
    named = []
    for row in range(len(words)):
        place = f'words[{row}]'
        word = text_field({'word': words[row]}, 'word', place, defects)
        if word is not None:
            named.append((place, word))
    check_distinct(named, defects)
    check_words({word: place for place, word in reversed(named)}, options, True, defects)
    for column in COLUMNS:
        entries = content.get(column)
        if isinstance(entries, list) and len(entries) not in (0, len(words)):
            defects.add('missing-field', column, f'has {len(entries)} entries for {len(words)} words')
    base = content.get('base')
    for row, word in enumerate(base if isinstance(base, list) else []):
        if isinstance(word, str) and word not in words:
            defects.add('word-not-in-file', f'base[{row}]', f"'{word}' is not among the words")
    defects.counted['words'] = len(words)
