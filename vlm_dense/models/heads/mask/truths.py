"""Segments that a picture is annotated with: a label and a mask each.

Shapes: G segments, H W pixels, K words. A pixel may belong to no segment.
"""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models.requests import NameRows, WordRows


def segments_of_labels(label_HW: Tensor, ignore_index: int) -> InstanceData:
    """One segment for every label that a map holds.

    Args:
        label_HW: Integers.
        ignore_index: Pixels with this label belong to no segment.

    Returns:
        ``labels`` (G,) int64, ascending, and ``masks`` (G, H, W) bool.
    """
    labels_U = label_HW.unique()
    labels_G = labels_U[labels_U != ignore_index]
    return InstanceData(labels=labels_G.long(), masks=label_HW[None] == labels_G[:, None, None])


def segments_of_instances(instances: InstanceData) -> InstanceData:
    """One segment for every annotated instance that has a pixel left.

    Args:
        instances: mmdet's ``gt_instances``: ``labels`` (G,), ``masks`` as a tensor or mmdet's mask structure.

    Returns:
        As in `segments_of_labels`, in the order of the annotations.
    """
    labels_G, masks = instances.labels, instances.masks
    if not isinstance(masks, Tensor):
        masks = masks.to_tensor(torch.bool, labels_G.device)
    masks_GHW = masks.bool()
    seen_G = masks_GHW.flatten(1).any(dim=1)
    return InstanceData(labels=labels_G[seen_G].long(), masks=masks_GHW[seen_G])


def segments_of_panoptic(
    instances: InstanceData, label_HW: Tensor, is_thing_K: Tensor, ignore_index: int
) -> InstanceData:
    """Things one by one, and one segment for every other label of the map.

    Args:
        instances: As in `segments_of_instances`.
        label_HW: Labels of all pixels, those of things included.
        is_thing_K: Boolean; other labels than the K words are no things.
        ignore_index: Pixels of the map with this label belong to no segment.

    Returns:
        As in `segments_of_labels`, things first.
    """
    things, rest = segments_of_instances(instances), segments_of_labels(label_HW, ignore_index)
    things_K = is_thing_K.to(label_HW.device).nonzero()[:, 0]
    return InstanceData.cat([things, rest[~torch.isin(rest.labels, things_K)]])


def taught_segments(truth: InstanceData, words: WordRows | NameRows, has_background: bool) -> InstanceData:
    """The segments that a mask head learns from: those of seen words, and of the background where it has one.

    What remains belongs to no mask, so that no label of an unseen word can change a loss.

    Args:
        truth: ``labels`` and ``masks``.
        words: Of the request; label K means background.
        has_background: Whether the head names the background.

    Raises:
        ConfigError: If there are no masks beside the labels, or no word of the request is seen.
        DataError: If a label is neither a word nor the background.
    """
    if 'masks' not in truth or 'labels' not in truth:
        raise ConfigError('a mask head learns from labels and masks; give each picture InstanceData with both.')
    labels_G, num_words = truth.labels, len(words.is_base_K)
    if not words.is_base_K.any():
        raise ConfigError(
            f'a mask head learns from seen words, and none of the {num_words} words of the request is seen; '
            'name those that are as base=... of the attached vocabulary.'
        )
    wrong_G = (labels_G < 0) | (labels_G > num_words)
    if wrong_G.any():
        raise DataError(
            f'a segment has the label {int(labels_G[wrong_G][0])}, but the request has {num_words} words and label '
            f'{num_words} means background; attach the vocabulary that the labels index, or remap them.'
        )
    is_taught_K1 = torch.cat([words.is_base_K, words.is_base_K.new_full((1,), has_background)]).to(labels_G.device)
    taught_G = is_taught_K1[labels_G]
    return InstanceData(labels=labels_G[taught_G], masks=truth.masks[taught_G].long())
