"""Data sets with label maps.

Counts: MaskFormer's and mmsegmentation's documentation of data sets; PASCAL Context, mmsegmentation (5,104) and the
"59 context labels" of its authors (5,105).
"""

from functools import partial

from vlm_dense.datasets.label_values import IGNORED_8_BIT, IGNORED_16_BIT
from vlm_dense.datasets.preparation.ade20k import FULL, convert_ade20k_847
from vlm_dense.datasets.preparation.archives import Archive, Take
from vlm_dense.datasets.preparation.check_boxes import by_file_name, check_boxes
from vlm_dense.datasets.preparation.check_maps import check_maps
from vlm_dense.datasets.preparation.check_panoptic import check_panoptic
from vlm_dense.datasets.preparation.dataset import DataSet
from vlm_dense.datasets.preparation.pascal_context import (
    CLASSES_459,
    LISTS,
    MAPS_59,
    MAPS_459,
    MERGED,
    VOC2010,
    convert_context_59,
    convert_context_459,
)
from vlm_dense.datasets.preparation.street_and_stuff import (
    STUFF,
    convert_cityscapes,
    convert_coco_object,
    convert_coco_stuff,
    link_coco_pictures,
)
from vlm_dense.datasets.preparation.table_boxes import coco_pictures

ADE, VOC2012 = 'ade/ADEChallengeData2016', 'VOCdevkit/VOC2012'
VOC_PAGE = 'host.robots.ox.ac.uk/pascal/VOC'
CONTEXT_PAGE = 'the page of PASCAL Context (roozbehm.info/pascal-context, detail annotations)'
CITYSCAPES_PAGE = 'cityscapes-dataset.com (Downloads, needs an account)'

ADE_2016 = Archive(
    'ADEChallengeData2016.zip',
    'sceneparsing.csail.mit.edu',
    tuple(
        Take(f'ADEChallengeData2016/{kind}/{part}/', f'{ADE}/{kind}/{part}/', part == 'training')
        for kind in ('images', 'annotations')
        for part in ('validation', 'training')
    ),
)
ADE_2021 = Archive(
    'ADE20K_2021_17_01.zip',
    'groups.csail.mit.edu/vision/datasets/ADE20K (full data set, on request)',
    tuple(
        Take(
            f'ADE20K_2021_17_01/images/ADE/{part}/',
            f'{FULL}/images/ADE/{part}/',
            part == 'training',
            ('.jpg', '_seg.png'),
        )
        for part in ('validation', 'training')
    ),
)
VOC_2010 = Archive(
    'VOCtrainval_03-May-2010.tar',
    f'{VOC_PAGE}/voc2010',
    (Take('VOCdevkit/VOC2010/JPEGImages/', f'{VOC2010}/JPEGImages/'),),
)
CONTEXT_MERGED = Archive('trainval_merged.json', CONTEXT_PAGE, (Take('trainval_merged.json', MERGED),))
CONTEXT_MATS = Archive('trainval.tar.gz', CONTEXT_PAGE, (Take('trainval/', f'{VOC2010}/trainval/'),))
VOC_2012 = Archive(
    'VOCtrainval_11-May-2012.tar',
    f'{VOC_PAGE}/voc2012',
    tuple(
        Take(f'VOCdevkit/VOC2012/{part}/', f'{VOC2012}/{part}/')
        for part in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation')
    ),
)
STUFF_MAPS = Archive(
    'stuffthingmaps_trainval2017.zip',
    'github.com/nightrome/cocostuff',
    tuple(
        Take(f'{part}/', f'{STUFF}/annotations/{part}/', part == 'train2017', ('.png',))
        for part in ('val2017', 'train2017')
    ),
)


def _cityscapes_archive(kind: str) -> Archive:
    takes = (
        Take(f'{kind}/{part}/', f'cityscapes/{kind}/{part}/', part == 'train', ('_leftImg8bit.png', '_labelIds.png'))
        for part in ('val', 'train')
    )
    return Archive(f'{kind}_trainvaltest.zip', CITYSCAPES_PAGE, tuple(takes))


def _maps(pictures: str, picture_end: str, maps: str, map_end: str, legal: set[int], names: str = '') -> partial:
    return partial(
        check_maps,
        pictures=pictures,
        picture_end=picture_end,
        maps=maps,
        map_end=map_end,
        legal=frozenset(legal),
        names=names,
    )


def _ade150(part: str) -> partial:
    return _maps(f'{ADE}/images/{part}', '.jpg', f'{ADE}/annotations/{part}', '.png', set(range(151)))


def _ade847(part: str) -> partial:
    legal = {*range(847), IGNORED_16_BIT}
    return _maps(f'{FULL}/images_detectron2/{part}', '.jpg', f'{FULL}/annotations_detectron2/{part}', '.tif', legal)


def _cityscapes(part: str) -> partial:
    maps = f'cityscapes/gtFine/{part}'
    return _maps(
        f'cityscapes/leftImg8bit/{part}',
        '_leftImg8bit.png',
        maps,
        '_gtFine_labelTrainIds.png',
        {*range(19), IGNORED_8_BIT},
    )


def _stuff(part: str, end: str, legal: set[int]) -> partial:
    return _maps(f'{STUFF}/images/{part}', '.jpg', f'{STUFF}/annotations/{part}', end, legal)


def _context(maps: str, end: str, legal: set[int], part: str = 'val') -> partial:
    return _maps(f'{VOC2010}/JPEGImages', '.jpg', maps, end, legal, f'{LISTS}/{part}.txt')


STUFF_171, OBJECT_80 = {*range(171), IGNORED_8_BIT}, set(range(81))
STUFF_ARCHIVES = (coco_pictures('val2017', f'{STUFF}/images'), coco_pictures('train2017', f'{STUFF}/images', True))
CONTEXT_COUNTS = {f'{LISTS}/val.txt': (5104, 5105)}

MAP_SETS = {
    'ade20k_150': DataSet(
        'ADE20K, 150 classes',
        ('ade20k_150',),
        (ADE_2016,),
        checks=(_ade150('validation'),),
        train_checks=(_ade150('training'),),
        counts={f'{ADE}/annotations/validation': (2000,), f'{ADE}/annotations/training': (20210,)},
    ),
    'ade20k_847': DataSet(
        'ADE20K, 847 classes, 16-bit label maps',
        ('ade20k_847',),
        (ADE_2021,),
        converters=(convert_ade20k_847,),
        checks=(_ade847('validation'),),
        train_checks=(_ade847('training'),),
        counts={f'{FULL}/annotations_detectron2/validation': (2000,)},
    ),
    'ade20k_panoptic': DataSet(
        "ADE20K panoptic, 150 classes (made with mmdet's ade20k2coco.py, checked only)",
        ('ade20k_panoptic',),
        checks=(
            partial(
                check_panoptic,
                ann=f'{ADE}/ade20k_panoptic_val.json',
                pictures=f'{ADE}/images/validation',
                maps=f'{ADE}/ade20k_panoptic_val',
                classes='mmdet:ADE20KPanopticDataset',
            ),
        ),
        counts={f'{ADE}/ade20k_panoptic_val.json': (2000,)},
    ),
    'ade20k_instance': DataSet(
        "ADE20K instances, 100 classes (made with mmdet's ade20k2coco.py, checked only)",
        ('ade20k_instance',),
        checks=(
            partial(
                check_boxes,
                ann=f'{ADE}/ade20k_instance_val.json',
                locate=by_file_name(f'{ADE}/images/validation'),
                classes='mmdet:ADE20KInstanceDataset',
            ),
        ),
        counts={f'{ADE}/ade20k_instance_val.json': (2000,)},
    ),
    'context59': DataSet(
        'PASCAL Context, 59 classes and background',
        ('context59', 'context60'),
        (VOC_2010, CONTEXT_MERGED),
        converters=(convert_context_59,),
        checks=(_context(MAPS_59, '.png', set(range(60))),),
        train_checks=(_context(MAPS_59, '.png', set(range(60)), 'train'),),
        counts=CONTEXT_COUNTS,
    ),
    'context459': DataSet(
        'PASCAL Context, 459 classes, 16-bit label maps',
        ('context459',),
        (VOC_2010, CONTEXT_MERGED, CONTEXT_MATS),
        converters=(convert_context_459,),
        checks=(_context(MAPS_459, '.tif', {*range(CLASSES_459), IGNORED_16_BIT}),),
        counts=CONTEXT_COUNTS,
    ),
    'voc2012': DataSet(
        'PASCAL VOC 2012, 20 classes and background',
        ('voc20', 'voc21', 'voc20b', 'voc_15_5'),
        (VOC_2012,),
        checks=(
            _maps(
                f'{VOC2012}/JPEGImages',
                '.jpg',
                f'{VOC2012}/SegmentationClass',
                '.png',
                {*range(21), IGNORED_8_BIT},
                f'{VOC2012}/ImageSets/Segmentation/val.txt',
            ),
        ),
        counts={f'{VOC2012}/ImageSets/Segmentation/val.txt': (1449,)},
    ),
    'cityscapes': DataSet(
        'Cityscapes, 19 classes',
        ('cityscapes19',),
        (_cityscapes_archive('leftImg8bit'), _cityscapes_archive('gtFine')),
        converters=(convert_cityscapes,),
        checks=(_cityscapes('val'),),
        train_checks=(_cityscapes('train'),),
        counts={'cityscapes/gtFine/val': (500,), 'cityscapes/gtFine/train': (2975,)},
    ),
    'cocostuff171': DataSet(
        'COCO-Stuff, 171 classes',
        ('cocostuff171', 'cocostuff_156_15'),
        (*STUFF_ARCHIVES, STUFF_MAPS),
        links=(link_coco_pictures,),
        converters=(convert_coco_stuff,),
        checks=(_stuff('val2017', '_labelTrainIds.png', STUFF_171),),
        train_checks=(_stuff('train2017', '_labelTrainIds.png', STUFF_171),),
        counts={f'{STUFF}/annotations/val2017': (5000,), f'{STUFF}/annotations/train2017': (118287,)},
    ),
    'coco_object': DataSet(
        'COCO-Object, 80 classes and background',
        ('coco_object',),
        (*STUFF_ARCHIVES, STUFF_MAPS),
        links=(link_coco_pictures,),
        converters=(convert_coco_object,),
        checks=(_stuff('val2017', '_instanceTrainIds.png', OBJECT_80),),
        train_checks=(_stuff('train2017', '_instanceTrainIds.png', OBJECT_80),),
        counts={f'{STUFF}/annotations/val2017': (5000,), f'{STUFF}/annotations/train2017': (118287,)},
    ),
}
