"""What the regions of an ODVG line say (mmdet's ``ODVGDataset``), for whoever checks it or trains on it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Span = tuple[int, int]


def boxes_of(region: Mapping[str, Any]) -> list[Any]:
    """The boxes of a region: its ``bbox`` is one box, or a list of them."""
    boxes = region['bbox']
    return boxes if isinstance(boxes, list) and boxes and isinstance(boxes[0], list) else [boxes]


def places_of(region: Mapping[str, Any], caption: str) -> tuple[Span, ...]:
    """The characters of the caption (end excluded) that a region is about, from left to right.

    Without ``tokens_positive`` they are wherever its phrases stand as words of their own, and if one nowhere does,
    wherever it stands; case does not matter.
    """
    spans = region.get('tokens_positive')
    if spans is not None:
        return tuple(sorted({(start, end) for start, end in spans}))
    return tuple(sorted({span for phrase in phrases_of(region) for span in _standing(phrase, caption)}))


def phrases_of(region: Mapping[str, Any]) -> list[Any]:
    """The parts of a region's ``phrase``: one, or a list where mmdet's converters found it in pieces."""
    phrase = region['phrase']
    return phrase if isinstance(phrase, list) and phrase else [phrase]


def text_at(caption: str, spans: Sequence[Span]) -> str:
    """What stands at places of a caption; pieces with more than white space between them are joined by commas."""
    pieces: list[list[int]] = []
    for start, end in sorted(spans):
        if pieces and not caption[pieces[-1][1] : start].strip():
            pieces[-1][1] = max(pieces[-1][1], end)
        else:
            pieces.append([start, end])
    return ', '.join(dict.fromkeys(caption[start:end].strip() for start, end in pieces))


def _standing(phrase: str, caption: str) -> list[Span]:
    escaped = re.escape(phrase.strip())
    for pattern in (rf'(?<!\w){escaped}(?!\w)', escaped):
        found = [match.span() for match in re.finditer(pattern, caption, re.IGNORECASE)]
        if found:
            return found
    return []
