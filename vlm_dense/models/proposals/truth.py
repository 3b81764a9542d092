"""Annotated boxes in place of proposals."""

from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS


@MODELS.register_module()
class TruthProposals(nn.Module):
    """The annotated boxes with score 1: what a classifier of regions knows where localisation is given.

    RegionCLIP (arXiv:2112.09106), Table 4. The boxes must be those of the batch picture: in the pipeline
    ``LoadAnnotations`` stands before ``Resize``.
    """

    def forward(self, pictures_B3HW: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """As `ProposalSource`.

        Raises:
            ConfigError: If a sample has no annotated boxes.
        """
        return [self._boxes(pictures_B3HW, sample) for sample in data_samples]

    def _boxes(self, pictures_B3HW: Tensor, sample: DetDataSample) -> InstanceData:
        if 'gt_instances' not in sample or 'bboxes' not in sample.gt_instances:
            raise ConfigError(
                f'TruthProposals: {sample.get("img_path", "a sample")} has no annotated boxes; put '
                "dict(type='LoadAnnotations', with_bbox=True) into the pipeline, before Resize."
            )
        boxes_G4 = sample.gt_instances.bboxes.to(pictures_B3HW)
        return InstanceData(bboxes=boxes_G4, scores=boxes_G4.new_ones(len(boxes_G4)))
