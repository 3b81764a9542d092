"""Protocols of grounding: every picture brings its own phrases."""

from typing import Any

from vlm_dense.evaluation.protocols.protocol import Part, Protocol

MDETR = 'annotations of Kamath et al. (MDETR), arXiv 2104.12763'
REFERRING = {
    'refcoco': ('RefCOCO', ('val', 'testA', 'testB'), 'Yu et al., arXiv 1608.00272'),
    'refcoco+': ('RefCOCO+', ('val', 'testA', 'testB'), 'Yu et al., arXiv 1608.00272'),
    'refcocog': ('RefCOCOg (UMD split)', ('val', 'test'), 'Mao et al., arXiv 1511.02283'),
}


def _phrases(name: str, folder: str, ann_file: str, pictures: str, **metric: Any) -> Part:
    dataset = dict(
        type='vlm_dense.PhraseGroundingDataset',
        data_root=f'{{root}}/{folder}',
        ann_file=ann_file,
        data_prefix=dict(img=pictures),
        remedy='run tools/data/prepare.py (docs/datasets.md).',
        test_mode=True,
    )
    return Part(None, dataset, dict(type='vlm_dense.PhraseGroundingMetric', **metric), name=name)


def _referring(name: str, title: str, splits: tuple[str, ...], source: str) -> Protocol:
    parts = tuple(
        _phrases(
            split,
            'coco',
            f'mdetr_annotations/finetune_{name}_{split}.json',
            'train2014/',
            figure='precision',
            topk=(1, 5, 10),
        )
        for split in splits
    )
    return Protocol(
        name=name,
        kind='phrases',
        title=f'{title}: precision@k of one expression with one box, IoU 0.5',
        split=', '.join(splits),
        cap='the best 1, 5 and 10 boxes of an expression',
        source=f'{source}; {MDETR}',
        data='refcoco',
        headline=('precision@1', 'precision@5', 'precision@10'),
        parts=parts,
    )


PHRASES = (
    Protocol(
        name='flickr30k',
        kind='phrases',
        title='Flickr30k Entities: recall@k of phrases, a hit on any of their boxes (ANY-BOX), IoU 0.5',
        split='val and test, 1,000 pictures each with 5 sentences',
        cap='the best 1, 5 and 10 boxes of a phrase, and all',
        source=f'Plummer et al., arXiv 1505.04870; {MDETR}',
        data='flickr30k',
        headline=('recall@1', 'recall@5', 'recall@10'),
        parts=tuple(
            _phrases(split, 'flickr30k_entities', f'final_flickr_separateGT_{split}.json', 'flickr30k_images/')
            for split in ('val', 'test')
        ),
    ),
    *(_referring(name, *rest) for name, rest in REFERRING.items()),
)
