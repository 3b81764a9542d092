"""The composed scenes as captions whose names have boxes: ODVG lines, made from the COCO file beside them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlm_dense.datasets.corners import corners
from vlm_dense.datasets.pictures.records import caption, noun_phrase
from vlm_dense.datasets.pictures.split import PARTS
from vlm_dense.folders import whole_file


def odvg_name(part: str) -> str:
    """Name of the file of a part; paths of pictures in it are those of the COCO file."""
    return f'{part}_odvg.jsonl'


def write_missing_odvg(out: Path) -> list[Path]:
    """Write the file of every part that has none, from the part's COCO file alone: always the same bytes.

    Args:
        out: Folder of a picture set.

    Returns:
        What was written.

    Raises:
        OSError: If the disk says no.
    """
    missing = [part for part in PARTS if not (out / odvg_name(part)).is_file()]
    for part in missing:
        document = json.loads((out / f'{part}.json').read_text(encoding='utf-8'))
        lines = [json.dumps(line, ensure_ascii=False) for line in grounding_lines(document)]
        with whole_file(out / odvg_name(part)) as file:
            file.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return [out / odvg_name(part) for part in missing]


def grounding_lines(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line per picture of a COCO file of this room; the phrase of a region is the name alone, without its article."""
    names = {category['id']: category['name'] for category in document['categories']}
    objects: dict[int, list[dict[str, Any]]] = {image['id']: [] for image in document['images']}
    for annotation in document['annotations']:
        objects[annotation['image_id']].append(annotation)
    for image in document['images']:
        placed = objects[image['id']]
        words = [names[annotation['category_id']] for annotation in placed]
        regions = [
            {'bbox': corners(annotation['bbox']), 'phrase': word, 'tokens_positive': [span]}
            for annotation, word, span in zip(placed, words, word_spans(words), strict=True)
        ]
        yield {
            'filename': image['file_name'],
            'height': image['height'],
            'width': image['width'],
            'grounding': {'caption': caption(words), 'regions': regions},
        }


def word_spans(words: Sequence[str]) -> list[list[int]]:
    """Where each word stands in ``caption(words)``: its first character and the one after its last."""
    spans = []
    for count, word in enumerate(words, start=1):
        # The caption of the first words begins like the whole one; only what joins them differs.
        before = len(', '.join(map(noun_phrase, words[:count])))
        end = before + (len(' and ') - len(', ') if count == len(words) and count > 1 else 0)
        spans.append([end - len(word), end])
    return spans
