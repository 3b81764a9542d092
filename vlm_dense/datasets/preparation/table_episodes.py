"""Data sets of few-shot segmentation, which are asked by words here.

Counts: VOC 2012 as in ``table_maps``; COCO 2014 and FSS-1000, their authors.
"""

from functools import partial

from vlm_dense.datasets.label_values import IGNORED_8_BIT
from vlm_dense.datasets.preparation.archives import Archive, Take
from vlm_dense.datasets.preparation.dataset import DataSet
from vlm_dense.datasets.preparation.episode_lists import check_folders, check_folds, list_folders, list_folds
from vlm_dense.datasets.preparation.episode_maps import (
    COCO_PARTS,
    FSS_MAPS,
    FSS_PICTURES,
    SBD,
    SBD_MAPS,
    VOC2012,
    VOC_LISTS,
    VOC_MAPS,
    convert_coco_2014,
    convert_fss,
    convert_sbd,
    names_of_coco,
    names_of_voc,
)
from vlm_dense.datasets.preparation.table_boxes import COCO_PAGE, INSTANCES_2014, coco_pictures
from vlm_dense.datasets.preparation.table_maps import VOC_2012
from vlm_dense.datasets.preparation.workplace import Workplace

VOC_CLASSES, COCO_CLASSES = 20, 80
VOC_EPISODES, COCO_EPISODES, FSS_EPISODES = f'{VOC2012}/ImageSets/Episodes', 'coco/episodes', 'fss1000/episodes'
SBD_ARCHIVE = Archive(
    'benchmark.tgz',
    'the page of SBD (Semantic Contours from Inverse Detectors, Berkeley)',
    (Take('benchmark_RELEASE/dataset/cls/', f'{SBD}/', train=True, ends=('.mat',)),),
)
INSTANCES_TRAIN_2014 = Archive(
    INSTANCES_2014.file,
    COCO_PAGE,
    (
        *INSTANCES_2014.takes,
        Take('annotations/instances_train2014.json', 'coco/annotations/instances_train2014.json', train=True),
    ),
)
FSS_ARCHIVE = Archive(
    'fewshot_data.zip',
    'github.com/HKUSTCV/FSS-1000',
    (Take('fewshot_data/', f'{FSS_PICTURES}/', ends=('.jpg', '.png')),),
)


def _count_voc(work: Workplace) -> None:
    work.count('pictures to test on', len(names_of_voc(work, 'val')), f'{VOC_LISTS}/val.txt')


def _count_coco(work: Workplace) -> None:
    maps = f'coco/annotations/{COCO_PARTS["val"]}'
    work.count('label maps', len(names_of_coco(work, 'val')), maps)


def _check_voc(part: str, maps: str) -> partial:
    return partial(
        check_folds,
        lists=VOC_EPISODES,
        part=part,
        pictures=f'{VOC2012}/JPEGImages',
        maps=maps,
        num_classes=VOC_CLASSES,
        ignored=IGNORED_8_BIT,
    )


def _check_coco(part: str) -> partial:
    return partial(
        check_folds,
        lists=COCO_EPISODES,
        part=part,
        pictures='coco',
        maps='coco/annotations',
        num_classes=COCO_CLASSES,
        ignored=None,
    )


EPISODE_SETS = {
    'pascal5i': DataSet(
        'PASCAL-5i, VOC 2012 (and SBD for training) in 4 folds of 5 classes',
        tuple(f'pascal5i_{fold}' for fold in range(4)),
        (VOC_2012, SBD_ARCHIVE),
        converters=(
            convert_sbd,
            partial(
                list_folds,
                benchmark='pascal',
                lists=VOC_EPISODES,
                maps=dict(val=VOC_MAPS, trn=SBD_MAPS),
                names=names_of_voc,
                num_classes=VOC_CLASSES,
                layout='blocks',
            ),
        ),
        checks=(_count_voc, _check_voc('val', VOC_MAPS)),
        train_checks=(_check_voc('trn', SBD_MAPS),),
        counts={f'{VOC_LISTS}/val.txt': (1449,)},
    ),
    'coco20i': DataSet(
        'COCO-20i, COCO 2014 in 4 folds of 20 classes',
        tuple(f'coco20i_{fold}' for fold in range(4)),
        (coco_pictures('val2014'), coco_pictures('train2014', train=True), INSTANCES_TRAIN_2014),
        converters=(
            convert_coco_2014,
            partial(
                list_folds,
                benchmark='coco',
                lists=COCO_EPISODES,
                maps=dict.fromkeys(COCO_PARTS, 'coco/annotations'),
                names=names_of_coco,
                num_classes=COCO_CLASSES,
                layout='stride',
            ),
        ),
        checks=(_count_coco, _check_coco('val')),
        train_checks=(_check_coco('trn'),),
        counts={'coco/annotations/val2014': (40504,)},
    ),
    'fss1000': DataSet(
        'FSS-1000, 1,000 classes of 10 pictures',
        ('fss1000',),
        (FSS_ARCHIVE,),
        converters=(
            convert_fss,
            partial(list_folders, lists=FSS_EPISODES, pictures=FSS_PICTURES),
        ),
        checks=(partial(check_folders, lists=FSS_EPISODES, pictures=FSS_PICTURES, maps=FSS_MAPS),),
        counts={FSS_PICTURES: (1000,)},
    ),
}
