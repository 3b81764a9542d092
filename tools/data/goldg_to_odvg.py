"""Turn the annotations of GoldG, in MDETR's layout, into ODVG lines for vlm_dense.GroundingDataset.

python tools/data/goldg_to_odvg.py final_mixed_train_no_coco.json final_flickr_separateGT_train.json --out goldg.jsonl

Every box keeps the places in the caption that it has in the annotations. mmdet's goldg2odvg.py gives all boxes whose
phrases are spelled alike the places of the first.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from vlm_dense.errors import DataError, MissingFileError, VlmDenseError  # noqa: E402
from vlm_dense.folders import whole_file  # noqa: E402

REMEDY = 'give files of mdetr_annotations.tar.gz, such as final_mixed_train_no_coco.json.'


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='+', type=Path, help='json files of MDETR, whose pictures share a folder')
    parser.add_argument('--out', type=Path, required=True, help='the .jsonl to write')
    args = parser.parse_args(arguments)
    written = silent = 0
    with whole_file(args.out) as path, path.open('w', encoding='utf-8') as out:
        for file in args.files:
            for line in odvg_lines(file):
                if line['grounding']['regions']:
                    out.write(json.dumps(line, ensure_ascii=False) + '\n')
                    written += 1
                else:
                    silent += 1
    print(f'{args.out}: {written} captions; {silent} without a box are left out')


def odvg_lines(path: Path) -> Iterator[dict[str, Any]]:
    """A line per caption, in the order of the file.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it is not in MDETR's layout.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} does not exist; {REMEDY}')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        boxes: dict[Any, list[dict[str, Any]]] = {image['id']: [] for image in content['images']}
        for annotation in content['annotations']:
            if not annotation.get('iscrowd'):
                boxes[annotation['image_id']].append(annotation)
        for image in content['images']:
            yield line_of(image, boxes[image['id']])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not in MDETR's layout ({type(error).__name__}: {error}); {REMEDY}") from error


def line_of(image: dict[str, Any], annotations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The ODVG line of a caption, with a region per box."""
    from vlm_dense.datasets.corners import corners
    from vlm_dense.datasets.odvg_lines import text_at

    caption, regions = image['caption'], []
    for annotation in annotations:
        places = sorted(annotation['tokens_positive'])
        regions.append(
            {
                'bbox': corners(annotation['bbox']),
                'phrase': text_at(caption, places),
                'tokens_positive': places,
            }
        )
    # The files of Flickr30k hold numbers as text.
    size = {'height': int(image['height']), 'width': int(image['width'])}
    return {'filename': image['file_name'], **size, 'grounding': {'caption': caption, 'regions': regions}}


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
