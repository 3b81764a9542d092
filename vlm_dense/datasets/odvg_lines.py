"""What the regions of an ODVG line say (mmdet's ``ODVGDataset``), for whoever checks it or trains on it."""

import re
from collections.abc import Mapping
from typing import Any

Span = tuple[int, int]


def boxes_of(region: Mapping[str, Any]) -> list[Any]:
    """The boxes of a region: its ``bbox`` is one box, or a list of them."""
    boxes = region['bbox']
    return boxes if isinstance(boxes, list) and boxes and isinstance(boxes[0], list) else [boxes]


def places_of(region: Mapping[str, Any], caption: str) -> tuple[Span, ...]:
    """The characters of the caption (end excluded) that a region is about, from left to right.

    Without ``tokens_positive`` they are wherever its phrase stands as a word of its own, and if it nowhere does,
    wherever it stands; case does not matter.
    """
    spans = region.get('tokens_positive')
    if spans is not None:
        return tuple(sorted({(start, end) for start, end in spans}))
    phrase = re.escape(region['phrase'].strip())
    for pattern in (rf'(?<!\w){phrase}(?!\w)', phrase):
        found = tuple(match.span() for match in re.finditer(pattern, caption, re.IGNORECASE))
        if found:
            return found
    return ()
