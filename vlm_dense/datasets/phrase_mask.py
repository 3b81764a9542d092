"""From a phrase and its polygons to a label map of one word."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.mask.structures import polygon_to_bitmap

from vlm_dense.registry import TRANSFORMS
from vlm_dense.text.vocabulary import Vocabulary

PHRASE, BACKGROUND = 0, 1


@TRANSFORMS.register_module()
class LoadPhraseMask(BaseTransform):
    """Draw the polygons of a phrase and make it the one word of its sample.

    The map has the size of the picture as it was read: for training place this step before those that change the
    picture, for evaluation behind ``Resize``, because predictions have the original size. Give ``PackSegInputs`` the
    meta key ``vocabulary``. Label 0 is the phrase and 1, the last column, is everything else. Pixels count as COCO's
    polygons do.

    Required keys: ``ori_shape``, ``phrase``, ``polygons`` (see `PhraseCutDataset`). Added keys: ``gt_seg_map`` (H, W)
    uint8, ``vocabulary``, and an entry in ``seg_fields``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the label map and the vocabulary.

        Raises:
            VocabularyError: If the phrase cannot be a word.
        """
        height, width = results['ori_shape'][:2]
        is_phrase_HW = polygon_to_bitmap([polygon.tolist() for polygon in results['polygons']], height, width)
        results['gt_seg_map'] = np.where(is_phrase_HW, PHRASE, BACKGROUND).astype(np.uint8)
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        results['vocabulary'] = Vocabulary.from_words([results['phrase']])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
