"""COCO-format panoptic maps whose classes are the words of a vocabulary."""

from typing import Any

import numpy as np
from mmdet.datasets import CocoPanopticDataset
from mmdet.datasets.transforms import LoadPanopticAnnotations as MMDetLoadPanopticAnnotations

from vlm_dense.datasets.detection import VocabularyCocoDataset
from vlm_dense.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class VocabularyPanopticDataset(VocabularyCocoDataset, CocoPanopticDataset):
    """mmdet's ``CocoPanopticDataset`` with the words of a vocabulary as classes, things and stuff.

    Labels are positions in the vocabulary, by name, whatever the order of the categories in the file. Which of them are
    things is what the file says. With ``objects='base'`` pixels of novel words belong to nothing.

    Arguments are those of `VocabularyCocoDataset`, and ``data_prefix`` with the folder of the maps, ``seg``.
    """

    def load_data_list(self) -> list[dict]:
        """Read the file and give every picture its path, its map and its segments with labels into the vocabulary."""
        data_list = super().load_data_list()
        del self.coco
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """As mmdet, of the segments whose words are wanted.

        Raises:
            DataError: As in `VocabularyCocoDataset`.
        """
        segments = [one for one in raw_data_info['raw_ann_info'] if one.get('category_id') in self.cat2label]
        return super().parse_data_info({**raw_data_info, 'raw_ann_info': segments})

    def _open(self) -> Any:
        self.coco = super()._open()
        return self.coco


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(MMDetLoadPanopticAnnotations):
    """mmdet's step of the same name without the package panopticapi, which is not on PyPI.

    What it needs and adds is mmdet's: a picture of ``mmdet.CocoPanopticDataset`` gets boxes, labels and masks of its
    things, and ``gt_seg_map`` (H, W) uint8 with the labels of all segments, crowds too, and 255 elsewhere.

    Args:
        with_bbox: As in mmdet, as are the next three.
        with_label: There.
        with_mask: There.
        with_seg: There.
        kwargs: Other arguments of mmdet's ``LoadAnnotations``.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        **kwargs: Any,
    ) -> None:
        # mmdet's own constructor imports panopticapi for the one function below.
        super(MMDetLoadPanopticAnnotations, self).__init__(
            with_bbox=with_bbox, with_label=with_label, with_mask=with_mask, with_seg=with_seg, **kwargs
        )
        self.rgb2id = _segment_ids

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the annotations."""
        results = super().transform(results)
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = results['gt_seg_map'].astype(np.uint8)
        return results


def _segment_ids(rgb_HW3: np.ndarray) -> np.ndarray:
    """COCO's numbers of segments: R + 256 G + 256^2 B."""
    return rgb_HW3.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32)
