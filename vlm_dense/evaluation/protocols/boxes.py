"""Protocols of detection and instance segmentation."""

import json
from pathlib import Path
from typing import Any

from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.protocols.protocol import VOCABULARIES, Part, Protocol, shipped

PER_WORD, PER_PICTURE, FIXED = 'picture_and_word:100', 'picture:300', 'word:10000'
OV_COCO = 'Bansal et al., arXiv 1804.04340; split of Zareian et al., arXiv 2011.10678'
LVIS = 'Gupta et al., arXiv 1908.03195'
ALL_FIGURES = dict(iou_types=('bbox', 'segm'), masks='where_given')


def _counted(cap: str) -> str:
    return DetectionCap.parse(cap).in_words


def _boxes(folder: str, ann_file: str, pictures: str, words: Any, asked: Any = None, **metric: Any) -> Part:
    """A COCO-format file.

    Args:
        folder: Below the folder of all data sets.
        ann_file: Below ``folder``.
        pictures: Below ``folder``.
        words: The words of the file.
        asked: The words to ask with, where they are others.
        metric: Settings of the metric.
    """
    dataset = dict(
        type='vlm_dense.VocabularyCocoDataset',
        data_root=f'{{root}}/{folder}',
        ann_file=ann_file,
        data_prefix=dict(img=pictures),
        vocabulary=words,
        other_categories='drop',
        remedy='run tools/data/prepare.py (docs/datasets.md).',
        test_mode=True,
    )
    scored = dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=f'{{root}}/{folder}/{ann_file}', **metric)
    return Part(asked or words, dataset, scored)


def _half(name: str, base: bool) -> dict[str, list[str]]:
    """The base or the novel words of a list that ships with the package, without the others."""
    content = json.loads(Path(VOCABULARIES, f'{name}.json').read_text(encoding='utf-8'))
    words = [word for word in content['words'] if (word in content['base']) is base]
    return dict(words=words, base=words if base else [])


def _ov_coco(name: str, title: str, split: str, ann_file: str, words: Any, first: str) -> Protocol:
    return Protocol(
        name=name,
        kind='boxes',
        title=title,
        split=split,
        cap=_counted(PER_WORD),
        source=OV_COCO,
        data='ov_coco',
        headline=(first,) if first != 'novel_ap50' else ('novel_ap50', 'base_ap50', 'all_ap50'),
        parts=(_boxes('coco', f'annotations/{ann_file}', 'val2017/', words, cap=PER_WORD),),
        has_split=True,
    )


def _lvis(name: str, title: str, part: str, cap: str, headline: tuple[str, ...], has_split: bool = False) -> Protocol:
    ann_file = f'annotations/lvis_v1_{part}.json'
    figures = ('coco', 'frequency', 'slices')
    metric = dict(cap=cap, lvis_style=True, figures=figures, **ALL_FIGURES)
    return Protocol(
        name=name,
        kind='boxes',
        title=title,
        split='LVIS v1 val, 19,809 pictures' if part == 'val' else 'LVIS v1 minival, 4,809 pictures of COCO val2017',
        cap=_counted(cap),
        source=LVIS if cap == PER_PICTURE else f'{LVIS}; Dave et al. (Fixed AP), arXiv 2102.01066',
        data='lvis_v1',
        headline=headline,
        parts=(_boxes('lvis_v1', ann_file, '', dict(file=f'{{root}}/lvis_v1/{ann_file}'), **metric),),
        has_split=has_split,
    )


BOXES = (
    Protocol(
        name='coco',
        kind='boxes',
        title='COCO zero-shot: AP over 80 words',
        split='val2017, 5,000 pictures',
        cap=_counted(PER_WORD),
        source='Lin et al., arXiv 1405.0312',
        data='coco',
        headline=('ap', 'ap50', 'ap75'),
        parts=(
            _boxes(
                'coco',
                'annotations/instances_val2017.json',
                'val2017/',
                dict(dataset='coco'),
                cap=PER_WORD,
                figures=('coco', 'slices'),
                **ALL_FIGURES,
            ),
        ),
    ),
    _ov_coco(
        'ov_coco',
        'OV-COCO 48/17, generalised: one pass over 65 words, AP50 averaged over novel, base and all words',
        'val2017, the 4,836 pictures with one of the 65 words',
        'instances_val2017_all_2.json',
        shipped('ovcoco'),
        'novel_ap50',
    ),
    _ov_coco(
        'ov_coco_novel',
        'OV-COCO 48/17, constrained: AP50 where only the 17 novel words are asked',
        'val2017, the pictures with one of the 17 novel words',
        'instances_val2017_unseen_2.json',
        _half('ovcoco', base=False),
        'all_ap50',
    ),
    _ov_coco(
        'ov_coco_base',
        'OV-COCO 48/17, constrained: AP50 where only the 48 base words are asked',
        'val2017, the pictures with one of the 48 base words',
        'instances_val2017_seen_2.json',
        _half('ovcoco', base=True),
        'all_ap50',
    ),
    Protocol(
        name='coco_65_15',
        kind='boxes',
        title='COCO 65/15, generalised: one pass over 80 words, AP50 and recall@100 of unseen and seen words',
        split='val2014, the pictures with one of the 15 unseen words',
        cap=_counted(PER_WORD),
        source='Rahman et al., arXiv 1811.08982',
        data='coco_65_15',
        headline=('unseen_ap50', 'seen_ap50', 'hm_ap50', 'unseen_recall100', 'seen_recall100', 'hm_recall100'),
        parts=(
            _boxes(
                'coco',
                'annotations/instances_val2014_65_15.json',
                'val2014/',
                shipped('coco_65_15'),
                cap=PER_WORD,
                figures=('seen_unseen',),
            ),
        ),
        has_split=True,
    ),
    _lvis(
        'ov_lvis',
        'OV-LVIS: 1,203 words in one pass, the 337 rare ones are novel; AP of masks and of boxes',
        'val',
        PER_PICTURE,
        ('segm_apr', 'segm_apc', 'segm_apf', 'segm_ap', 'apr', 'ap'),
        has_split=True,
    ),
    _lvis('lvis_val', 'LVIS v1 val: AP over 1,203 words', 'val', PER_PICTURE, ('ap', 'apr', 'apc', 'apf')),
    _lvis('lvis_val_fixed', 'LVIS v1 val: Fixed AP over 1,203 words', 'val', FIXED, ('ap', 'apr', 'apc', 'apf')),
    _lvis('lvis_minival', 'LVIS v1 minival: AP', 'minival', PER_PICTURE, ('ap', 'apr', 'apc', 'apf')),
    _lvis('lvis_minival_fixed', 'LVIS v1 minival: Fixed AP', 'minival', FIXED, ('ap', 'apr', 'apc', 'apf')),
)
