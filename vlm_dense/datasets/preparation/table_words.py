"""Data sets with phrases, and suites of small data sets. All of them are only unpacked and checked."""

from functools import partial

from vlm_dense.datasets.preparation.archives import Archive, Take
from vlm_dense.datasets.preparation.check_boxes import by_file_name, check_boxes
from vlm_dense.datasets.preparation.check_odinw import check_odinw
from vlm_dense.datasets.preparation.dataset import DataSet
from vlm_dense.datasets.preparation.table_boxes import coco_pictures

MDETR_FILE, MDETR_PAGE = 'mdetr_annotations.tar.gz', 'zenodo.org/record/4729015'
FLICKR = 'flickr30k_entities'
REFCOCO = 'coco/mdetr_annotations'
FLICKR_FILES = tuple(f'final_flickr_separateGT_{part}.json' for part in ('val', 'test'))
REFCOCO_FILES = tuple(
    f'finetune_{name}_{part}.json'
    for name, parts in (
        ('refcoco', ('val', 'testA', 'testB')),
        ('refcoco+', ('val', 'testA', 'testB')),
        ('refcocog', ('val', 'test')),
    )
    for part in parts
)


def _mdetr(files: tuple[str, ...], to: str) -> Archive:
    return Archive(MDETR_FILE, MDETR_PAGE, tuple(Take(f'*/{name}', f'{to}/{name}') for name in files))


WORD_SETS = {
    'flickr30k': DataSet(
        'Flickr30k Entities, phrases with boxes',
        ('flickr30k',),
        (
            Archive(
                'flickr30k-images.tar.gz',
                'shannon.cs.illinois.edu/DenotationGraph (needs a form)',
                (Take('flickr30k-images/', f'{FLICKR}/flickr30k_images/', ends=('.jpg',)),),
            ),
            _mdetr(FLICKR_FILES, FLICKR),
        ),
        checks=tuple(
            partial(check_boxes, ann=f'{FLICKR}/{name}', locate=by_file_name(f'{FLICKR}/flickr30k_images'))
            for name in FLICKR_FILES
        ),
    ),
    'refcoco': DataSet(
        'RefCOCO, RefCOCO+ and RefCOCOg, expressions with one box',
        ('refcoco', 'refcoco+', 'refcocog'),
        (coco_pictures('train2014'), _mdetr(REFCOCO_FILES, REFCOCO)),
        checks=tuple(
            partial(check_boxes, ann=f'{REFCOCO}/{name}', locate=by_file_name('coco/train2014'))
            for name in REFCOCO_FILES
        ),
    ),
    **{
        suite: DataSet(
            f'Object Detection in the Wild, {number} data sets (unpacked by hand, checked only)',
            (suite,),
            checks=(partial(check_odinw, suite=suite),),
        )
        for suite, number in (('odinw13', 13), ('odinw35', 35))
    },
}
