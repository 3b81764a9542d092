"""Protocols of semantic segmentation."""

from typing import Any

from vlm_dense.evaluation.protocols.protocol import Part, Protocol, shipped

ALL_PIXELS = 'every pixel with a label'
WITH_BACKGROUND = 'every pixel with a label; background is a class, and where the recipe says so'
FIGURES = ('miou', 'fwiou', 'pixel_accuracy')
GENERALISED = ('hiou', 'unseen_miou', 'seen_miou')
ADE20K = 'Zhou et al., arXiv 1608.05442'
VOC = 'Everingham et al., IJCV 2010'
CONTEXT = 'Mottaghi et al., CVPR 2014'
COCO_STUFF = 'Caesar et al., arXiv 1612.03716'


def _maps(
    words: Any,
    folder: str,
    pictures: str,
    maps: str,
    asked: Any = None,
    metric: dict[str, Any] | None = None,
    **dataset: Any,
) -> tuple[Part, ...]:
    """A folder of label maps.

    Args:
        words: What the maps count.
        folder: Below the folder of all data sets.
        pictures: Below ``folder``.
        maps: Below ``folder``.
        asked: The words to ask with, where they are others.
        metric: Settings of the metric.
        dataset: Settings of the data set.
    """
    settings: dict[str, Any] = dict(
        type='vlm_dense.VocabularySegDataset',
        data_root=f'{{root}}/{folder}',
        vocabulary=words,
        data_prefix=dict(img_path=pictures, seg_map_path=maps),
        remedy='run tools/data/prepare.py (docs/datasets.md).',
        test_mode=True,
        **{'background': False, 'img_suffix': '.jpg', 'seg_map_suffix': '.png', **dataset},
    )
    scored = dict(type='vlm_dense.SeenUnseenIoUMetric', words=words, **(metric or {}))
    return (Part(asked or words, settings, scored, truth=(dict(type='vlm_dense.LoadLabelMap'),)),)


def _voc(words: Any, **settings: Any) -> tuple[Part, ...]:
    return _maps(
        words,
        'VOCdevkit/VOC2012',
        'JPEGImages',
        'SegmentationClass',
        ann_file='ImageSets/Segmentation/val.txt',
        first_label=1,
        **settings,
    )


def _context(words: Any, maps: str = 'SegmentationClassContext', **settings: Any) -> tuple[Part, ...]:
    listing = 'ImageSets/SegmentationContext/val.txt'
    return _maps(words, 'VOCdevkit/VOC2010', 'JPEGImages', maps, ann_file=listing, **settings)


def _coco_maps(words: Any, ending: str, **settings: Any) -> tuple[Part, ...]:
    return _maps(words, 'coco_stuff164k', 'images/val2017', 'annotations/val2017', seg_map_suffix=ending, **settings)


PIXELS = (
    Protocol(
        name='ade20k_150',
        kind='pixels',
        title='ADE20K-150 (A-150): mIoU over 150 words',
        split='validation, 2,000 pictures',
        cap=ALL_PIXELS,
        source=f'{ADE20K} (MIT Scene Parsing Benchmark)',
        data='ade20k_150',
        headline=FIGURES,
        parts=_maps(
            shipped('ade20k'),
            'ade/ADEChallengeData2016',
            'images/validation',
            'annotations/validation',
            first_label=1,
        ),
    ),
    Protocol(
        name='ade20k_847',
        kind='pixels',
        title='ADE20K-847 (A-847): mIoU over 847 words of the full data set',
        split='validation, 2,000 pictures, the short side at most 512 pixels',
        cap=ALL_PIXELS,
        source=f'{ADE20K}; split of MaskFormer, arXiv 2107.06278',
        data='ade20k_847',
        headline=FIGURES,
        parts=_maps(
            shipped('ade20k_847'),
            'ade/ADE20K_2021_17_01',
            'images_detectron2/validation',
            'annotations_detectron2/validation',
            seg_map_suffix='.tif',
        ),
    ),
    Protocol(
        name='context59',
        kind='pixels',
        title='PASCAL Context-59 (PC-59): mIoU over 59 words, background left out',
        split='val, 5,104 pictures',
        cap=ALL_PIXELS,
        source=CONTEXT,
        data='context59',
        headline=FIGURES,
        parts=_context(shipped('context59'), first_label=1),
    ),
    Protocol(
        name='context60',
        kind='pixels',
        title='PASCAL Context-60 (PC-60): mIoU over 59 words and background',
        split='val, 5,104 pictures',
        cap=WITH_BACKGROUND,
        source=CONTEXT,
        data='context59',
        headline=FIGURES,
        parts=_context(shipped('context59'), first_label=1, background=True, metric=dict(background_counts=True)),
    ),
    Protocol(
        name='context459',
        kind='pixels',
        title='PASCAL Context-459 (PC-459): mIoU over 459 words',
        split='val, 5,104 pictures',
        cap=ALL_PIXELS,
        source=CONTEXT,
        data='context459',
        headline=FIGURES,
        parts=_context(shipped('context459'), 'annotations_detectron2/pc459_val', seg_map_suffix='.tif'),
    ),
    Protocol(
        name='voc20',
        kind='pixels',
        title='PASCAL VOC 2012, 20 words (PAS-20): mIoU, background left out',
        split='val, 1,449 pictures',
        cap=ALL_PIXELS,
        source=VOC,
        data='voc2012',
        headline=FIGURES,
        parts=_voc(shipped('voc20')),
    ),
    Protocol(
        name='voc21',
        kind='pixels',
        title='PASCAL VOC 2012, 20 words and background (VOC-21): mIoU over 21 classes',
        split='val, 1,449 pictures',
        cap=WITH_BACKGROUND,
        source=VOC,
        data='voc2012',
        headline=FIGURES,
        parts=_voc(shipped('voc20'), background=True, metric=dict(background_counts=True)),
    ),
    Protocol(
        name='voc20b',
        kind='pixels',
        title='PASCAL VOC 2012, background by words (PAS-20b): mIoU over 20 words and background',
        split='val, 1,449 pictures',
        cap='every pixel with a label; pixels given to one of 39 further words are background',
        source='Cho et al. (CAT-Seg), arXiv 2303.11797',
        data='voc2012',
        headline=FIGURES,
        parts=_voc(
            shipped('voc20'),
            asked=shipped('voc20b'),
            background=True,
            metric=dict(background_counts=True, distractors='background'),
        ),
    ),
    Protocol(
        name='voc_15_5',
        kind='pixels',
        title='PASCAL VOC 2012 15/5, generalised: one pass over 20 words, seen, unseen and their harmonic mean',
        split='val, 1,449 pictures',
        cap=ALL_PIXELS,
        source='Xian et al. (SPNet), CVPR 2019; Ding et al. (ZegFormer), arXiv 2112.07910',
        data='voc2012',
        headline=GENERALISED,
        parts=_voc(shipped('voc20_15_5')),
        has_split=True,
    ),
    Protocol(
        name='cityscapes19',
        kind='pixels',
        title='Cityscapes: mIoU over 19 words',
        split='val, 500 pictures',
        cap=ALL_PIXELS,
        source='Cordts et al., arXiv 1604.01685',
        data='cityscapes',
        headline=FIGURES,
        parts=_maps(
            dict(dataset='cityscapes'),
            'cityscapes',
            'leftImg8bit/val',
            'gtFine/val',
            img_suffix='_leftImg8bit.png',
            seg_map_suffix='_gtFine_labelTrainIds.png',
        ),
    ),
    Protocol(
        name='cocostuff171',
        kind='pixels',
        title='COCO-Stuff: mIoU over 171 words',
        split='val2017, 5,000 pictures',
        cap=ALL_PIXELS,
        source=COCO_STUFF,
        data='cocostuff171',
        headline=FIGURES,
        parts=_coco_maps(dict(dataset='coco_stuff'), '_labelTrainIds.png'),
    ),
    Protocol(
        name='cocostuff_156_15',
        kind='pixels',
        title='COCO-Stuff 156/15, generalised: one pass over 171 words, seen, unseen and their harmonic mean',
        split='val2017, 5,000 pictures',
        cap=ALL_PIXELS,
        source='Xian et al. (SPNet), CVPR 2019; Ding et al. (ZegFormer), arXiv 2112.07910',
        data='cocostuff171',
        headline=GENERALISED,
        parts=_coco_maps(shipped('cocostuff_156_15'), '_labelTrainIds.png'),
        has_split=True,
    ),
    Protocol(
        name='coco_object',
        kind='pixels',
        title='COCO-Object: mIoU over 80 words and background',
        split='val2017, 5,000 pictures',
        cap=WITH_BACKGROUND,
        source='Cha et al. (TCL), arXiv 2212.00785',
        data='coco_object',
        headline=FIGURES,
        parts=_coco_maps(
            dict(dataset='coco'),
            '_instanceTrainIds.png',
            first_label=1,
            background=True,
            metric=dict(background_counts=True),
        ),
    ),
)
