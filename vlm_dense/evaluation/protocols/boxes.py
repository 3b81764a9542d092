"""Protocols of detection."""

from typing import Any

from vlm_dense.evaluation.protocols.protocol import Part, Protocol, shipped

PER_WORD = 'the best 100 of a picture and word'


def _coco(ann_file: str, words: Any, pictures: str = 'val2017', **metric: Any) -> tuple[Part, ...]:
    path = f'{{root}}/coco/annotations/{ann_file}'
    dataset = dict(
        type='vlm_dense.VocabularyCocoDataset',
        data_root='{root}/coco',
        ann_file=f'annotations/{ann_file}',
        data_prefix=dict(img=f'{pictures}/'),
        vocabulary=words,
        other_categories='drop',
        test_mode=True,
    )
    return (Part(words, dataset, dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=path, **metric)),)


BOXES = (
    Protocol(
        name='coco',
        kind='boxes',
        title='COCO zero-shot: 80 words, AP of boxes',
        split='val2017, 5,000 pictures',
        cap=PER_WORD,
        source='Lin et al., arXiv 1405.0312; zero-shot in GLIP, arXiv 2112.03857',
        data='coco',
        headline=('all_ap', 'all_ap50'),
        parts=_coco('instances_val2017.json', dict(dataset='coco')),
    ),
    Protocol(
        name='ov_coco',
        kind='boxes',
        title='OV-COCO 48/17, generalised: one pass over 65 words, AP50 averaged over novel, base and all words',
        split='val2017, the 4,836 pictures with one of the 65 words',
        cap=PER_WORD,
        source='Bansal et al., arXiv 1804.04340; Zareian et al., arXiv 2011.10678',
        data='ov_coco',
        headline=('novel_ap50', 'base_ap50', 'all_ap50'),
        parts=_coco('instances_val2017_all_2.json', shipped('ovcoco')),
        has_split=True,
    ),
)
