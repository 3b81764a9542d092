"""Label maps of PASCAL-5i's training part (SBD), of COCO-20i, and of FSS-1000."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from vlm_dense.datasets.annotation_checks.files import names_in
from vlm_dense.datasets.preparation.check_boxes import box_keys, read_document
from vlm_dense.datasets.preparation.check_maps import listed_names
from vlm_dense.datasets.preparation.convert_maps import convert_maps, save_map
from vlm_dense.datasets.preparation.workplace import Workplace
from vlm_dense.errors import DataError

VOC2012, SBD = 'VOCdevkit/VOC2012', 'VOCdevkit/SBD/cls'
VOC_MAPS, SBD_MAPS = f'{VOC2012}/SegmentationClass', f'{VOC2012}/SegmentationClassAug'
VOC_LISTS = f'{VOC2012}/ImageSets/Segmentation'
COCO_PARTS = {'val': 'val2014', 'trn': 'train2014'}
FSS_PICTURES, FSS_MAPS = 'fss1000/pictures', 'fss1000/maps'
HALF = 128


def convert_sbd(work: Workplace) -> None:
    """For training, write ``SegmentationClassAug``: VOC's own maps where its train list has them, SBD's elsewhere.

    Pictures of VOC's val list are left out: they are tested on.
    """
    if not work.train:
        return
    train, val = (listed_names(work, f'{VOC_LISTS}/{part}.txt') for part in ('train', 'val'))
    if train is None or val is None:
        return
    by_sbd = set(names_in(work.root / SBD, '.mat')) - set(train) - set(val)
    target = work.root / SBD_MAPS
    own = [(work.root / VOC_MAPS / f'{name}.png', target / f'{name}.png') for name in train]
    convert_maps(work, own, _read_indices, f'{target}, maps of VOC')
    pairs = [(work.root / SBD / f'{name}.mat', target / f'{name}.png') for name in sorted(by_sbd)]
    convert_maps(work, pairs, _read_sbd, f'{target}, maps of SBD')


def convert_coco_2014(work: Workplace) -> None:
    """Write label maps of COCO 2014, 0 for nothing and 1..80 for the classes, for pictures that have none.

    HSNet publishes such maps; where they lie in place they stay. Ours are drawn from ``instances_*.json``: groups
    (``iscrowd``) first, then objects from the largest to the smallest, so that small ones stay in sight.
    """
    for part in ('val', 'trn') if work.train else ('val',):
        folder = COCO_PARTS[part]
        target = work.root / 'coco/annotations' / folder
        lacking = set(names_in(work.root / 'coco' / folder, '.jpg')) - set(names_in(target, '.png'))
        if lacking:
            _draw_coco(work, f'coco/annotations/instances_{folder}.json', target, lacking)


def convert_fss(work: Workplace) -> None:
    """Write maps of 0 and 1 from FSS-1000's coloured masks, which are white where the class is."""
    names = names_in(work.root / FSS_PICTURES, '.png')
    pairs = [(work.root / FSS_PICTURES / f'{name}.png', work.root / FSS_MAPS / f'{name}.png') for name in names]
    convert_maps(work, pairs, _read_mask, f'{work.root / FSS_MAPS}, label maps')


def names_of_voc(work: Workplace, part: str) -> list[str]:
    """Pictures of VOC's val list, or of the enlarged training part, whose folder may hold maps of that list too."""
    val = listed_names(work, f'{VOC_LISTS}/val.txt') or []
    return val if part == 'val' else sorted(set(names_in(work.root / SBD_MAPS, '.png')) - set(val))


def names_of_coco(work: Workplace, part: str) -> list[str]:
    """Label maps of a part of COCO 2014, with their folder."""
    folder = COCO_PARTS[part]
    return [f'{folder}/{name}' for name in names_in(work.root / 'coco/annotations' / folder, '.png')]


def draw_objects(image: dict, objects: list[dict], label_of: dict[int, int]) -> np.ndarray:
    """The map (H, W) of uint8 of one picture of COCO.

    Args:
        image: Its entry.
        objects: Its annotations.
        label_of: Label by id of the category.
    """
    from pycocotools import mask as masks  # late: only this conversion needs it

    height, width = image['height'], image['width']
    map_HW = np.zeros((height, width), np.uint8)
    for entry in sorted(objects, key=lambda entry: (not entry.get('iscrowd'), -float(entry.get('area', 0)))):
        outline = entry['segmentation']
        if isinstance(outline, list) or isinstance(outline['counts'], list):
            outline = masks.frPyObjects(outline, height, width)
        code = masks.merge(outline) if isinstance(outline, list) else outline
        map_HW[masks.decode(code).astype(bool)] = label_of[entry['category_id']]
    return map_HW


def _draw_coco(work: Workplace, ann: str, target: Path, lacking: set[str]) -> None:
    document = read_document(work, ann, box_keys())
    if document is None:
        return
    ids = sorted(category['id'] for category in document['categories'])
    label_of = {category: label for label, category in enumerate(ids, 1)}
    objects_of = defaultdict(list)
    for entry in document['annotations']:
        objects_of[entry['image_id']].append(entry)
    image_of = {Path(image['file_name']).stem: image for image in document['images']}
    strays = [work.root / 'coco' / target.name / f'{name}.jpg' for name in sorted(lacking - set(image_of))]
    work.report.defect_each(f'has no entry in {ann}', strays, work.remedy)
    written = 0
    for name in sorted(lacking & set(image_of)):
        try:
            map_HW = draw_objects(image_of[name], objects_of[image_of[name]['id']], label_of)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            problem = f'cannot be drawn for {name} ({error!r})'
            work.report.defect(problem, work.root / ann, 'get the official file again')
            continue
        save_map(map_HW, target / f'{name}.png')
        written += 1
    if written:
        work.report.made.append(f'{target}: {written:,} label maps drawn')


def _read_indices(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return (np.asarray(image.convert('L')) >= HALF).astype(np.uint8)


def _read_sbd(path: Path) -> np.ndarray:
    from scipy.io import loadmat  # late: only this conversion needs it

    try:
        return loadmat(path)['GTcls']['Segmentation'][0, 0].astype(np.uint8)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f'{path} holds no GTcls.Segmentation ({error}); get the official archive again.') from error
