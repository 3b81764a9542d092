"""Protocols of detection and instance segmentation."""

from typing import Any

from vlm_dense.datasets.odinw import odinw_sets
from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.protocols.protocol import Part, Protocol, shipped
from vlm_dense.text.vocabulary import Vocabulary

PER_WORD, PER_PICTURE, FIXED, ZERO_SHOT = 'picture_and_word:100', 'picture:300', 'word:10000', 'picture:100'
OV_COCO = 'Bansal et al., arXiv 1804.04340; split of Zareian et al., arXiv 2011.10678'
OBJECTS365 = 'Shao et al., ICCV 2019'
LVIS = 'Gupta et al., arXiv 1908.03195'
ALL_FIGURES: dict[str, Any] = dict(iou_types=('bbox', 'segm'), masks='where_given')
BOX_RULES: dict[str, Any] = dict(cap=PER_WORD, figures=('coco', 'slices'))
COCO_RULES: dict[str, Any] = dict(BOX_RULES, **ALL_FIGURES)


def _counted(cap: str) -> str:
    return DetectionCap.parse(cap).in_words


def _boxes(
    folder: str,
    ann_file: str,
    pictures: str,
    words: Any,
    name: str = '',
    category_words: dict[str, str] | None = None,
    path_parts: int = 0,
    **metric: Any,
) -> Part:
    """A COCO-format file.

    Args:
        folder: Below the folder of all data sets; ``ann_file`` and ``pictures`` are below it.
        words: What to ask for.
        name: Of the part.
        category_words: The words of categories whose names are none.
        path_parts: As in `VocabularyCocoDataset`.
        metric: Settings of the metric.
    """
    dataset = dict(
        type='vlm_dense.VocabularyCocoDataset',
        data_root=f'{{root}}/{folder}',
        ann_file=ann_file,
        data_prefix=dict(img=pictures),
        vocabulary=words,
        other_categories='drop',
        category_words=category_words,
        path_parts=path_parts,
        remedy='run tools/data/prepare.py (docs/datasets.md).',
        test_mode=True,
    )
    scored = dict(
        type='vlm_dense.BaseNovelBoxMetric',
        ann_file=f'{{root}}/{folder}/{ann_file}',
        category_words=category_words,
        **metric,
    )
    return Part(words, dataset, scored, name=name)


def _half(part: str) -> dict[str, list]:
    """The 'base' or the 'novel' words of OV-COCO without the others: data and metric are to know no further ones."""
    return Vocabulary.build(shipped('ovcoco', only=part)).as_spec()


def _ov_coco(name: str, title: str, split: str, ann_file: str, words: Any, *headline: str) -> Protocol:
    return Protocol(
        name=name,
        kind='boxes',
        title=title,
        split=split,
        cap=_counted(PER_WORD),
        source=OV_COCO,
        data='ov_coco',
        headline=headline,
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
        data='lvis_v1' if part == 'val' else 'lvis_minival',
        headline=headline,
        parts=(_boxes('lvis_v1', ann_file, '', dict(file=f'{{root}}/lvis_v1/{ann_file}'), **metric),),
        has_split=has_split,
    )


def _coco_style(name: str, title: str, split: str, source: str, headline: tuple[str, ...], part: Part) -> Protocol:
    return Protocol(
        name=name,
        kind='boxes',
        title=title,
        split=split,
        cap=_counted(PER_WORD),
        source=source,
        data=name,
        headline=headline,
        parts=(part,),
    )


def _odinw(suite: str) -> Protocol:
    sets = odinw_sets(suite)
    parts = tuple(
        _boxes(
            'odinw',
            one.annotations.removeprefix('odinw/'),
            one.pictures.removeprefix('odinw/'),
            dict(words=list(one.words)),
            name=one.name,
            category_words=one.category_words or None,
            cap=PER_WORD,
            figures=('coco',),
        )
        for one in sets
    )
    return Protocol(
        name=suite,
        kind='boxes',
        title=f'ODinW-{len(sets)}: AP averaged over {len(sets)} data sets, each asked for its own words',
        split='the validation or test part of each data set, as in mmdet',
        cap=_counted(PER_WORD),
        source='Li et al. (ELEVATER), arXiv 2204.08790; Li et al. (GLIP), arXiv 2112.03857',
        data=suite,
        headline=('ap', 'ap50'),
        parts=parts,
    )


BOXES = (
    _coco_style(
        'coco',
        'COCO zero-shot: AP over 80 words',
        'val2017, 5,000 pictures',
        'Lin et al., arXiv 1405.0312',
        ('ap', 'ap50', 'ap75'),
        _boxes(
            'coco',
            'annotations/instances_val2017.json',
            'val2017/',
            dict(dataset='coco'),
            **COCO_RULES,
        ),
    ),
    _ov_coco(
        'ov_coco',
        'OV-COCO 48/17, generalised: one pass over 65 words, AP50 averaged over novel, base and all words',
        'val2017, the 4,836 pictures with one of the 65 words',
        'instances_val2017_all_2.json',
        shipped('ovcoco'),
        'novel_ap50',
        'base_ap50',
        'all_ap50',
    ),
    _ov_coco(
        'ov_coco_novel',
        'OV-COCO 48/17, constrained: AP50 where only the 17 novel words are asked',
        'val2017, the pictures with one of the 17 novel words',
        'instances_val2017_unseen_2.json',
        _half('novel'),
        'all_ap50',
    ),
    _ov_coco(
        'ov_coco_base',
        'OV-COCO 48/17, constrained: AP50 where only the 48 base words are asked',
        'val2017, the pictures with one of the 48 base words',
        'instances_val2017_seen_2.json',
        _half('base'),
        'all_ap50',
    ),
    Protocol(
        name='coco_65_15',
        kind='boxes',
        title='COCO 65/15, generalised: one pass over 80 words, AP50 and recall@100 of unseen and seen words',
        split='val2014, 10,098 pictures with one of the 15 unseen words',
        cap=_counted(ZERO_SHOT),
        source='Rahman et al., arXiv 1811.08982',
        data='coco_65_15',
        headline=('unseen_ap50', 'seen_ap50', 'hm_ap50', 'unseen_recall100', 'seen_recall100', 'hm_recall100'),
        parts=(
            _boxes(
                'coco',
                'annotations/instances_val2014_65_15.json',
                'val2014/',
                shipped('coco_65_15'),
                cap=ZERO_SHOT,
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
    _coco_style(
        'objects365_v1',
        'Objects365 v1, transfer: AP over 365 words',
        'val',
        OBJECTS365,
        ('ap', 'ap50'),
        _boxes(
            'objects365v1',
            'annotations/objects365_val.json',
            'val/',
            dict(dataset='objects365_v1'),
            **BOX_RULES,
        ),
    ),
    _coco_style(
        'objects365_v2',
        'Objects365 v2, transfer: AP over 365 words',
        'val, 80,000 pictures',
        OBJECTS365,
        ('ap', 'ap50'),
        _boxes(
            'objects365v2',
            'annotations/zhiyuan_objv2_val.json',
            'val/',
            dict(dataset='objects365_v2'),
            path_parts=2,
            **BOX_RULES,
        ),
    ),
    _coco_style(
        'voc2007',
        "PASCAL VOC 2007, transfer: AP50 over 20 words by COCO's rules",
        'test, 4,952 pictures',
        'Everingham et al., IJCV 2010; as Gu et al. (ViLD), arXiv 2104.13921, report it',
        ('ap50', 'ap'),
        _boxes(
            'VOCdevkit/VOC2007',
            'annotations/voc07_test.json',
            'JPEGImages/',
            shipped('voc20'),
            category_words=dict(diningtable='dining table', pottedplant='potted plant', tvmonitor='tv monitor'),
            **BOX_RULES,
        ),
    ),
    _coco_style(
        'ade20k_instance',
        'ADE20K instances: AP of masks and boxes over 100 words',
        'validation, 2,000 pictures',
        'Zhou et al., arXiv 1608.05442; categories of mmdet',
        ('segm_ap', 'ap'),
        _boxes(
            'ade/ADEChallengeData2016',
            'ade20k_instance_val.json',
            'images/validation/',
            dict(dataset='ade20k_instance'),
            **COCO_RULES,
        ),
    ),
    _odinw('odinw13'),
    _odinw('odinw35'),
)
