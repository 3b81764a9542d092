"""Cityscapes, COCO-Stuff and COCO-Object: raw 8-bit label maps turned into the classes that are scored."""

from vlm_dense.datasets.annotation_checks.files import names_in
from vlm_dense.datasets.label_values import IGNORED_8_BIT
from vlm_dense.datasets.preparation.convert_maps import convert_maps, look_up, lookup_table
from vlm_dense.datasets.preparation.files import link_folder
from vlm_dense.datasets.preparation.workplace import Workplace

CITYSCAPES = 'cityscapes/gtFine'
STUFF = 'coco_stuff164k'
# The labels that are scored, in the order of their train ids: cityscapesScripts, helpers/labels.py.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_LABELS = 34
# The 182 raw values of stuffthingmaps count 11 categories that COCO never annotated: nightrome/cocostuff, labels.txt
# (there one higher, for 0 is "unlabeled").
STUFF_HOLES = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
STUFF_VALUES, FIRST_STUFF = 182, 91
STUFF_IDS = tuple(value for value in range(STUFF_VALUES) if value not in STUFF_HOLES)


def convert_cityscapes(work: Workplace) -> None:
    """Write ``*_labelTrainIds.png`` from ``*_labelIds.png``.

    cityscapesScripts draws both from the same polygons; a table gives the same map and needs no other package.
    """
    table = lookup_table(dict.fromkeys((*range(CITYSCAPES_LABELS), IGNORED_8_BIT), IGNORED_8_BIT))
    table[list(CITYSCAPES_IDS)] = range(len(CITYSCAPES_IDS))
    for part in _parts(work, 'val', 'train'):
        folder = work.root / CITYSCAPES / part
        names = names_in(folder, '_labelIds.png')
        pairs = [(folder / f'{name}_labelIds.png', folder / f'{name}_labelTrainIds.png') for name in names]
        convert_maps(work, pairs, lambda path: look_up(path, table), f'{folder}, 19 classes')


def convert_coco_stuff(work: Workplace) -> None:
    """Write ``*_labelTrainIds.png``: raw 0..181 with holes become 0..170, unlabelled stays 255."""
    new_of_old = {old: new for new, old in enumerate(STUFF_IDS)} | {IGNORED_8_BIT: IGNORED_8_BIT}
    _convert_stuff(work, new_of_old, '_labelTrainIds', '171 classes')


def convert_coco_object(work: Workplace) -> None:
    """Write ``*_instanceTrainIds.png``: 0 for stuff and unlabelled, 1..80 for things.

    GroupViT (arXiv:2202.11094) made this data set; its table gives unlabelled pixels 0 too.
    """
    new_of_old = {old: new + 1 if old < FIRST_STUFF else 0 for new, old in enumerate(STUFF_IDS)} | {IGNORED_8_BIT: 0}
    _convert_stuff(work, new_of_old, '_instanceTrainIds', '80 classes and background')


def link_coco_pictures(work: Workplace) -> None:
    """Let COCO-Stuff use COCO's folders of pictures where they are prepared."""
    for part in _parts(work, 'val2017', 'train2017'):
        link_folder(work.root / 'coco' / part, work.root / STUFF / 'images' / part)


def _convert_stuff(work: Workplace, new_of_old: dict[int, int], suffix: str, what: str) -> None:
    table = lookup_table(new_of_old)
    for part in _parts(work, 'val2017', 'train2017'):
        folder = work.root / STUFF / 'annotations' / part
        names = [name for name in names_in(folder, '.png') if not name.endswith('TrainIds')]
        pairs = [(folder / f'{name}.png', folder / f'{name}{suffix}.png') for name in names]
        convert_maps(work, pairs, lambda path: look_up(path, table), f'{folder}, {what}')


def _parts(work: Workplace, test: str, train: str) -> tuple[str, ...]:
    return (test, train) if work.train else (test,)
