"""The contract of proposal sources."""

from typing import Protocol

from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor


class ProposalSource(Protocol):
    """What `OVTwoStageDetector` asks where it has no proposal head of its own."""

    def __call__(self, pictures_B3HW: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """Proposals of a batch.

        Args:
            pictures_B3HW: RGB, 0..255, padding filled with the detector's mean colour.
            data_samples: Their ``img_shape`` is the picture without its padding.

        Returns:
            Per picture ``bboxes`` (n, 4), xyxy px of the batch picture, and ``scores`` (n,) from 0 to 1; n may be 0.
        """
        ...
