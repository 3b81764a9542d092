"""Protocols of panoptic segmentation."""

from typing import Any

from vlm_dense.evaluation.protocols.protocol import Part, Protocol, shipped
from vlm_dense.text.vocabulary import Vocabulary

SEGMENTS = 'one segment per pixel; a match needs an IoU above 0.5'
FIGURES = ('pq', 'sq', 'rq')


def _ade20k_names() -> dict[str, str]:
    """The word of each category, which the annotations call by all of its names."""
    words = Vocabulary.build(shipped('ade20k_panoptic'))
    return {', '.join(words.names(row)): word for row, word in enumerate(words.words)}


def _panoptic(
    words: Any, dataset_type: str, folder: str, ann_file: str, pictures: str, maps: str, **metric: Any
) -> tuple[Part, ...]:
    dataset = dict(
        type=f'mmdet.{dataset_type}',
        data_root=f'{{root}}/{folder}',
        ann_file=ann_file,
        data_prefix=dict(img=pictures, seg=maps),
        test_mode=True,
    )
    scored = dict(
        type='vlm_dense.PanopticQualityMetric',
        ann_file=f'{{root}}/{folder}/{ann_file}',
        seg_prefix=f'{{root}}/{folder}/{maps}',
        **metric,
    )
    return (Part(words, dataset, scored),)


PANOPTIC = (
    Protocol(
        name='coco_panoptic',
        kind='panoptic',
        title='COCO panoptic: PQ over 133 words (80 things, 53 stuff)',
        split='val2017, 5,000 pictures',
        cap=SEGMENTS,
        source='Kirillov et al., arXiv 1801.00868',
        data='coco_panoptic',
        headline=FIGURES,
        parts=_panoptic(
            dict(dataset='coco_panoptic'),
            'CocoPanopticDataset',
            'coco',
            'annotations/panoptic_val2017.json',
            'val2017/',
            'annotations/panoptic_val2017/',
        ),
    ),
    Protocol(
        name='ade20k_panoptic',
        kind='panoptic',
        title='ADE20K panoptic: PQ over 150 words (100 things, 50 stuff)',
        split='validation, 2,000 pictures',
        cap=SEGMENTS,
        source='Kirillov et al., arXiv 1801.00868; categories of mmdet',
        data='ade20k_panoptic',
        headline=FIGURES,
        parts=_panoptic(
            shipped('ade20k_panoptic'),
            'ADE20KPanopticDataset',
            'ade/ADEChallengeData2016',
            'ade20k_panoptic_val.json',
            'images/validation/',
            'ade20k_panoptic_val/',
            category_words=_ade20k_names(),
        ),
    ),
)
