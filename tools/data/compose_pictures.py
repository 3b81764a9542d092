"""Compose the built-in picture set: scenes with boxes, masks, captions and label maps.

Cut-outs and backgrounds come from Tux Paint's photographs (Debian packages, fetched once through apt, no root needed)
or are drawn by the project. A second run with the same arguments changes nothing.

Example:
    python tools/data/compose_pictures.py --out data/pictures --source auto --vlm-center
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from vlm_dense.errors import MissingFileError, VlmDenseError

CENTER = 'center.safetensors'
CENTER_BYTES = 20_000
# Means over the first 100 scenes and over all 300 have a cosine above 0.996.
CENTER_SCENES = 60


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('data/pictures'), help='folder of the set')
    parser.add_argument(
        '--source',
        choices=('auto', 'stamps', 'drawn'),
        default='auto',
        help='stamps: photographs; drawn: coloured shapes; auto: stamps, or drawn where stamps cannot be had',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the split and of every scene')
    parser.add_argument('--train', type=int, default=300, help='scenes for training (base words only)')
    parser.add_argument('--val', type=int, default=60, help='scenes for choosing settings')
    parser.add_argument('--test', type=int, default=150, help='scenes for reporting')
    parser.add_argument('--size', type=int, default=384, help='height and width of a scene in pixels')
    parser.add_argument(
        '--vlm-center',
        action='store_true',
        help=f"also write {CENTER}: the ImageNet tower's mean features on the training scenes",
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    # Late, so that --help does not wait for torch.
    from vlm_dense.datasets.pictures import PictureRequest, compose_pictures

    try:
        request = PictureRequest(args.source, args.seed, args.train, args.val, args.test, args.size)
        manifest = compose_pictures(args.out, request)
        center = write_center(args.out) if args.vlm_center else None
    except VlmDenseError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(report(args.out, manifest))
    if center:
        print(center)
    return 0


def report(out: Path, manifest: dict) -> str:
    """What was made, and of which source."""
    counts, words = manifest['counts'], manifest['counts']['words']
    state = 'composed' if manifest['made'] else 'already there, nothing to do'
    lines = [f'{out}: {state}', f'source: {manifest["source"]}']
    if manifest['fallback']:
        lines.append(f'  drawn cut-outs stand in for photographs: {manifest["fallback"]}')
    lines.append(
        f'words: {words["all"]} = {words["base"]} base ({words["known_base"]} known to the image teacher) + '
        f'{words["novel"]} novel ({words["known_novel"]} known to the image teacher)'
    )
    for part in ('train', 'val', 'test'):
        made = counts[part]
        lines.append(
            f'{part}: {made["scenes"]} scenes, {made["base_objects"]} base and {made["novel_objects"]} novel objects'
        )
    return '\n'.join(lines)


def write_center(out: Path) -> str:
    """Compute the tower's mean features unless they are there, and say what happened."""
    path = out / CENTER
    if path.is_file():
        return f'{path}: already there'
    import torch
    from safetensors.torch import save_file

    from vlm_dense.datasets.corners import corners
    from vlm_dense.datasets.pictures.storage import storage_errors
    from vlm_dense.folders import whole_file
    from vlm_dense.vlms import ImageNetTower, mean_features

    try:
        tower = ImageNetTower()
    except (MissingFileError, ImportError) as error:
        return f'{path}: left out, the image tower is not installed ({error})'
    document = json.loads((out / 'train.json').read_text(encoding='utf-8'))
    images = document['images'][:CENTER_SCENES]
    boxes: dict[int, list[list[float]]] = {image['id']: [] for image in document['images']}
    for annotation in document['annotations']:
        boxes[annotation['image_id']].append(corners(annotation['bbox']))
    paths = [out / image['file_name'] for image in images]
    xyxy_per_image = [torch.tensor(boxes[image['id']]).reshape(-1, 4) for image in images]
    logging.info('computing mean features of %d training scenes', len(paths))
    features = mean_features(tower, paths, xyxy_per_image)
    with storage_errors(path, CENTER_BYTES, 'Free some room, or choose another folder.'), whole_file(path) as file:
        save_file({name: feature.contiguous() for name, feature in features.items()}, file)
    return f'{path}: {", ".join(sorted(features))}'


if __name__ == '__main__':
    sys.exit(main())
