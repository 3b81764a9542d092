"""Protocols of few-shot segmentation without shots: every picture is asked for two words, "others" and one class."""

from typing import Any

from vlm_dense.datasets.episode_lists import FOLDS
from vlm_dense.evaluation.protocols.protocol import Part, Protocol, shipped

COUNTED = 'every pixel with a label; whatever is not given to the class is background'
LSEG = 'asked as Li et al. (LSeg), arXiv 2201.03546; counted as Min et al. (HSNet), arXiv 2104.01538'
FIGURES = ('miou', 'fb_iou')


def _episodes(kind: str, folder: str, pictures: str, maps: str, lists: str, **settings: Any) -> tuple[Part, ...]:
    """A list of episodes.

    Args:
        kind: Type of the data set.
        folder: Below the folder of all data sets; the others are below it.
        pictures: Folder.
        maps: Folder.
        lists: Folder, or file.
        settings: Further ones of the data set.
    """
    dataset = dict(
        type=f'vlm_dense.{kind}',
        data_root=f'{{root}}/{folder}',
        ann_file=lists,
        data_prefix=dict(img_path=pictures, seg_map_path=maps),
        test_mode=True,
        **settings,
    )
    truth = (dict(type='vlm_dense.LoadLabelMap'),)
    return (Part(None, dataset, dict(type='vlm_dense.ForegroundIoUMetric'), truth=truth),)


def _pascal(fold: int) -> Protocol:
    return Protocol(
        name=f'pascal5i_{fold}',
        kind='pixels',
        title=f'PASCAL-5i, fold {fold}, zero-shot: mIoU over 5 words, each against "others", and FB-IoU',
        split='VOC 2012 val, 1,000 episodes; a picture and class that come again count again',
        cap=COUNTED,
        source=f'Shaban et al., arXiv 1709.03410; {LSEG}',
        data='pascal5i',
        headline=FIGURES,
        parts=_episodes(
            'FoldEpisodes',
            'VOCdevkit/VOC2012',
            'JPEGImages',
            'SegmentationClass',
            'ImageSets/Episodes',
            vocabulary=shipped('voc20'),
            fold=fold,
            layout='blocks',
            draw='cycle',
        ),
    )


def _coco(fold: int) -> Protocol:
    return Protocol(
        name=f'coco20i_{fold}',
        kind='pixels',
        title=f'COCO-20i, fold {fold}, zero-shot: mIoU over 20 words, each against "others", and FB-IoU',
        split='COCO val2014, 1,000 episodes drawn with seed 0; a picture and class that come again count again',
        cap=COUNTED,
        source=f'Nguyen and Todorovic, arXiv 1909.13140; {LSEG}',
        data='coco20i',
        headline=FIGURES,
        parts=_episodes(
            'FoldEpisodes',
            'coco',
            '.',
            'annotations',
            'episodes',
            vocabulary=shipped('coco20i'),
            fold=fold,
            layout='stride',
            draw='classes',
        ),
    )


EPISODES = (
    *(_pascal(fold) for fold in range(FOLDS)),
    *(_coco(fold) for fold in range(FOLDS)),
    Protocol(
        name='fss1000',
        kind='pixels',
        title='FSS-1000, zero-shot: mIoU over the words of the test folders, each against "others", and FB-IoU',
        split='test, all 10 pictures of 240 classes',
        cap=COUNTED,
        source=f'Li et al., arXiv 1907.12347; {LSEG}',
        data='fss1000',
        headline=FIGURES,
        parts=_episodes('FolderEpisodes', 'fss1000', 'pictures', 'maps', 'episodes/test.txt'),
    ),
)
