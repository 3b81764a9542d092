"""The captions that come with the Tux Paint stamps: one line of English, then other languages."""

import re
import unicodedata
from pathlib import PurePosixPath

ENGLISH = 'en'
LINE = re.compile(r'([A-Za-z_@]+)\.utf8\s*=(.*)')


def caption_file(stamp: str) -> str:
    """Path of a stamp's captions, beside the picture."""
    return str(PurePosixPath(stamp).with_suffix('.txt'))


def read_captions(text: str) -> dict[str, str]:
    """Captions by language.

    Args:
        text: Content of a caption file: the first line is English, the others read ``LANGUAGE.utf8=CAPTION``.

    Returns:
        From the language as written there ('de', 'pt_BR', 'sr@latin') to its caption, without full stops, bars and
        white space at both ends and without control characters, which some translations hold by accident. Empty
        captions are left out.
    """
    first, *others = text.splitlines() or ['']
    captions = {ENGLISH: _clean(first)}
    for line in others:
        found = LINE.match(line.strip())
        if found:
            captions[found[1]] = _clean(found[2])
    return {language: caption for language, caption in captions.items() if caption}


def _clean(caption: str) -> str:
    caption = ''.join(letter for letter in caption if unicodedata.category(letter) != 'Cc')
    return caption.strip(' \t\r\n.|।。')
