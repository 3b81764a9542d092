"""Data sets with boxes, instances and panoptic segments.

Counts: COCO 2017, cocodataset.org and mmseg's coco_stuff164k converter; OV-COCO, the issue 17 of
alirezazareian/ovr-cnn; LVIS, the issue 32 of lvis-dataset/lvis-api and the data set card winvoker/lvis, whose
"validation" of 4,809 pictures is minival; Objects365 v2, the issue 24 of bytedance/coconut_cvpr2024; the others,
``docs/datasets.md``.
"""

from functools import partial

from vlm_dense.datasets.preparation.archives import Archive, Take
from vlm_dense.datasets.preparation.check_boxes import by_coco_url, by_file_name, check_boxes
from vlm_dense.datasets.preparation.check_panoptic import check_panoptic
from vlm_dense.datasets.preparation.coco_splits import (
    link_coco_pictures,
    split_65_15,
    split_minival,
    split_ov_coco,
)
from vlm_dense.datasets.preparation.dataset import DataSet
from vlm_dense.datasets.preparation.voc_boxes import TEST, VOC2007, convert_voc2007
from vlm_dense.datasets.preparation.workplace import Workplace

COCO_PAGE = 'cocodataset.org (Download)'
LVIS_PAGE = 'lvisdataset.org (Dataset)'
ANN = 'coco/annotations'
LVIS = 'lvis_v1/annotations'


def coco_pictures(part: str, to: str = 'coco', train: bool = False) -> Archive:
    """COCO's archive of the pictures of one part."""
    return Archive(f'{part}.zip', COCO_PAGE, (Take(f'{part}/', f'{to}/{part}/', train, ('.jpg',)),))


INSTANCES_2017 = Archive(
    'annotations_trainval2017.zip',
    COCO_PAGE,
    (
        Take('annotations/instances_val2017.json', f'{ANN}/instances_val2017.json'),
        Take('annotations/instances_train2017.json', f'{ANN}/instances_train2017.json', train=True),
    ),
)
INSTANCES_2014 = Archive(
    'annotations_trainval2014.zip',
    COCO_PAGE,
    (Take('annotations/instances_val2014.json', f'{ANN}/instances_val2014.json'),),
)
PANOPTIC_2017 = Archive(
    'panoptic_annotations_trainval2017.zip',
    COCO_PAGE,
    (
        Take('annotations/panoptic_val2017.json', f'{ANN}/panoptic_val2017.json'),
        Take('annotations/panoptic_val2017.zip', f'{ANN}/panoptic_val2017.zip'),
    ),
)
PANOPTIC_MAPS = Archive('panoptic_val2017.zip', COCO_PAGE, (Take('panoptic_val2017/', f'{ANN}/panoptic_val2017/'),))
COCO_2017 = (coco_pictures('val2017'), coco_pictures('train2017', train=True), INSTANCES_2017)


def _coco(part: str, folder: str, classes: str = 'mmdet:CocoDataset') -> partial:
    return partial(check_boxes, ann=f'{ANN}/instances_{part}.json', locate=by_file_name(folder), classes=classes)


def _lvis(part: str) -> partial:
    classes = 'mmdet:LVISV1Dataset'
    return partial(
        check_boxes,
        ann=f'{LVIS}/lvis_v1_{part}.json',
        locate=by_coco_url('lvis_v1'),
        classes=classes,
        name_key='coco_url',
    )


def _lvis_file(part: str, train: bool = False) -> Archive:
    name = f'lvis_v1_{part}.json'
    return Archive(f'{name}.zip', LVIS_PAGE, (Take(name, f'{LVIS}/{name}', train),))


def _unreadable_objects365() -> tuple[str, ...]:
    """Pictures of Objects365 v2 that mmdet leaves out, for nobody can read them."""
    from mmdet.datasets.objects365 import objv2_ignore_list  # late: mmdet takes seconds to import

    return tuple(objv2_ignore_list)


def _check_objects365_v2(work: Workplace) -> None:
    """Pictures lie by patch, ``val/patch0/name.jpg``, whatever comes before that in ``file_name``."""
    check_boxes(
        work,
        OBJECTS365_V2,
        lambda image: 'objects365v2/val/' + '/'.join(image['file_name'].split('/')[-2:]),
        'mmdet:Objects365V2Dataset',
        _unreadable_objects365(),
    )


OBJECTS365_V1 = 'objects365v1/annotations/objects365_val.json'
OBJECTS365_V2 = 'objects365v2/annotations/zhiyuan_objv2_val.json'
OV_COCO_FILES = {'all_2': 'ovcoco', 'seen_2': 'ovcoco:base', 'unseen_2': 'ovcoco:novel'}

BOX_SETS = {
    'coco': DataSet(
        'COCO 2017, 80 classes',
        ('coco',),
        COCO_2017,
        checks=(_coco('val2017', 'coco/val2017'),),
        train_checks=(_coco('train2017', 'coco/train2017'),),
        counts={f'{ANN}/instances_val2017.json': (5000,), f'{ANN}/instances_train2017.json': (118287,)},
    ),
    'ov_coco': DataSet(
        'OV-COCO, 48 base and 17 novel classes of COCO 2017',
        ('ov_coco', 'ov_coco_base', 'ov_coco_novel'),
        COCO_2017,
        converters=(split_ov_coco,),
        checks=tuple(_coco(f'val2017_{part}', 'coco/val2017', names) for part, names in OV_COCO_FILES.items()),
        train_checks=(_coco('train2017_seen_2', 'coco/train2017', 'ovcoco:base'),),
        counts={
            f'{ANN}/instances_val2017_all_2.json': (4836,),
            f'{ANN}/instances_val2017_seen_2.json': (4533,),
            f'{ANN}/instances_val2017_unseen_2.json': (2064,),
        },
    ),
    'coco_65_15': DataSet(
        'COCO 2014, 65 seen and 15 unseen classes',
        ('coco_65_15',),
        (coco_pictures('val2014'), INSTANCES_2014),
        converters=(split_65_15,),
        checks=(_coco('val2014_65_15', 'coco/val2014'),),
        counts={f'{ANN}/instances_val2014_65_15.json': (10098,)},
    ),
    'coco_panoptic': DataSet(
        'COCO 2017 panoptic, 133 classes',
        ('coco_panoptic',),
        (coco_pictures('val2017'), PANOPTIC_2017),
        inner=((ANN, PANOPTIC_MAPS),),
        checks=(
            partial(
                check_panoptic,
                ann=f'{ANN}/panoptic_val2017.json',
                pictures='coco/val2017',
                maps=f'{ANN}/panoptic_val2017',
                classes='mmdet:CocoPanopticDataset',
            ),
        ),
        counts={f'{ANN}/panoptic_val2017.json': (5000,)},
    ),
    'lvis_v1': DataSet(
        'LVIS v1 val and minival, 1,203 classes',
        ('lvis_val', 'ov_lvis', 'lvis_val_fixed', 'lvis_minival', 'lvis_minival_fixed'),
        (
            coco_pictures('val2017', 'lvis_v1'),
            coco_pictures('train2017', 'lvis_v1'),
            _lvis_file('val'),
            _lvis_file('train', train=True),
        ),
        links=(link_coco_pictures,),
        converters=(split_minival,),
        checks=(_lvis('val'), _lvis('minival')),
        train_checks=(_lvis('train'),),
        counts={
            f'{LVIS}/lvis_v1_val.json': (19809,),
            f'{LVIS}/lvis_v1_minival.json': (4809,),
            f'{LVIS}/lvis_v1_train.json': (100170,),
        },
    ),
    'lvis_minival': DataSet(
        'LVIS v1 minival only: no pictures of train2017 are needed',
        ('lvis_minival', 'lvis_minival_fixed'),
        (coco_pictures('val2017', 'lvis_v1'), _lvis_file('val')),
        links=(link_coco_pictures,),
        converters=(split_minival,),
        checks=(_lvis('minival'),),
        counts={f'{LVIS}/lvis_v1_minival.json': (4809,)},
    ),
    'objects365_v1': DataSet(
        'Objects365 v1 val, 365 classes (unpacked by hand, checked only)',
        ('objects365_v1',),
        checks=(
            partial(
                check_boxes,
                ann=OBJECTS365_V1,
                locate=by_file_name('objects365v1/val'),
                classes='mmdet:Objects365V1Dataset',
            ),
        ),
    ),
    'objects365_v2': DataSet(
        'Objects365 v2 val, 365 classes (unpacked by hand, checked only)',
        ('objects365_v2',),
        checks=(_check_objects365_v2,),
        counts={OBJECTS365_V2: (80000,)},
    ),
    'voc2007': DataSet(
        'PASCAL VOC 2007 test, 20 classes',
        ('voc2007',),
        (
            Archive(
                'VOCtest_06-Nov-2007.tar',
                'host.robots.ox.ac.uk/pascal/VOC/voc2007',
                tuple(
                    Take(f'VOCdevkit/VOC2007/{part}/', f'{VOC2007}/{part}/') for part in ('JPEGImages', 'Annotations')
                )
                + (Take('VOCdevkit/VOC2007/ImageSets/Main/', f'{VOC2007}/ImageSets/Main/'),),
            ),
        ),
        converters=(convert_voc2007,),
        checks=(
            partial(check_boxes, ann=TEST, locate=by_file_name(f'{VOC2007}/JPEGImages'), classes='mmdet:VOCDataset'),
        ),
        counts={TEST: (4952,)},
    ),
}
