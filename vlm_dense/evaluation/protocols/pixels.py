"""Protocols of semantic segmentation."""

from typing import Any

from vlm_dense.evaluation.protocols.protocol import Part, Protocol, shipped

ALL_PIXELS = 'every pixel with a label'
FIGURES = ('miou', 'fwiou', 'pixel_accuracy')


def _maps(words: Any, folder: str, **dataset: Any) -> tuple[Part, ...]:
    settings = dict(
        type='vlm_dense.VocabularySegDataset',
        data_root=f'{{root}}/{folder}',
        vocabulary=words,
        img_suffix='.jpg',
        test_mode=True,
        **dataset,
    )
    metric = dict(type='vlm_dense.SeenUnseenIoUMetric', words=words)
    return (Part(words, settings, metric, truth=(dict(type='mmseg.LoadAnnotations'),)),)


PIXELS = (
    Protocol(
        name='ade20k_150',
        kind='pixels',
        title='ADE20K-150: mIoU over 150 words',
        split='validation, 2,000 pictures',
        cap=ALL_PIXELS,
        source='Zhou et al., arXiv 1608.05442 (MIT Scene Parsing Benchmark)',
        data='ade20k_150',
        headline=FIGURES,
        parts=_maps(
            shipped('ade20k'),
            'ade/ADEChallengeData2016',
            background=False,
            reduce_zero_label=True,
            seg_map_suffix='.png',
            data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        ),
    ),
)
