"""The contract of training-time branches: sample regions of a named batch, then take losses on them.

A branch is what a method adds to ordinary detector training: distillation, image labels, captions, pseudo
labels. It is fed by one named batch of the loader, names the regions it wants, and receives their
embeddings. It never sees the detector, so any branch works with any detector that fulfils this contract.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor


@dataclass(frozen=True)
class Regions:
    """Regions of a batch of B pictures.

    Args:
        boxes: Per picture (n, 4), xyxy in pixels of the batch picture; n may be 0.
    """

    boxes: list[Tensor]

    @property
    def counts(self) -> list[int]:
        """Number of regions of every picture."""
        return [len(boxes_N4) for boxes_N4 in self.boxes]

    def __len__(self) -> int:
        return sum(self.counts)


@runtime_checkable
class Branch(Protocol):
    """What a detector asks of a branch.

    Args:
        batch: Name of the batch that feeds the branch; 'boxes' is the ordinary one.
        embedding: Which embedding of the box head the branch trains.
    """

    batch: str
    embedding: Literal['text', 'image']

    def sample(self, proposals: list[InstanceData], data_samples: list[DetDataSample]) -> Regions:
        """Choose regions.

        Args:
            proposals: Per picture ``bboxes`` (n, 4) xyxy px and ``scores`` (n,), without gradient.
            data_samples: The samples of the branch's batch, with the annotations its data set has.
        """
        ...

    def losses(
        self, region_ND: Tensor, regions: Regions, pictures_B3HW: Tensor, data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Losses of the sampled regions; keys that hold 'loss' are summed into the total.

        Args:
            region_ND: Embeddings of ``regions``, pictures one after the other, not normalised.
            regions: Of `sample`.
            pictures_B3HW: The batch in RGB, 0..255, padding filled with the detector's mean colour.
            data_samples: As in `sample`.
        """
        ...
