"""Distillation of a vision-language model's view of region crops into region embeddings.

Shapes: N regions, D embedding width.

Source: ViLD (arXiv:2104.13921), Sec. 3.3, Eq. (4), and the constants of its TPU release.
"""

from typing import Literal

import torch
import torchvision
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.branches.base import Regions
from vlm_dense.models.branches.crop_teacher import CropTeacher
from vlm_dense.models.branches.picture_frame import from_disk
from vlm_dense.registry import MODELS


@MODELS.register_module()
class DistillRegions(BaseModule):
    """L1 between region embeddings and a frozen tower's embeddings of the same regions' crops.

    In the paper regions and their embeddings were stored before, from a separate proposal head; that is
    ``proposals='bank'``. By default they come from the detector's own proposal head while it trains (it sees base
    boxes only).

    Args:
        teacher: Arguments of `CropTeacher`.
        weight: Factor of the loss.
        max_regions: At most so many regions of a picture.
        min_size: Sides below this many pixels are left out, after clipping to the picture.
        nms_iou: Regions overlapping a better one by more are left out; 1 keeps all.
        with_truth: Put the annotated boxes in front of the proposals.
        proposals: 'detector', or 'bank' for the boxes that the teacher's bank holds of the picture, in stored order.
        batch: Name of the batch that feeds the branch.

    Raises:
        ConfigError: If ``proposals`` is neither of its two values, or there is no bank to take them from.
    """

    embedding: Literal['text', 'image'] = 'image'

    def __init__(
        self,
        teacher: dict,
        weight: float = 0.5,
        max_regions: int = 300,
        min_size: float = 4.0,
        nms_iou: float = 1.0,
        with_truth: bool = False,
        proposals: Literal['detector', 'bank'] = 'detector',
        batch: str = 'boxes',
    ) -> None:
        super().__init__()
        self.teacher = CropTeacher(**teacher)
        if proposals not in ('detector', 'bank'):
            raise ConfigError(f"DistillRegions: proposals={proposals!r}; write 'detector' or 'bank'.")
        if proposals == 'bank' and self.teacher.bank is None:
            raise ConfigError("DistillRegions: proposals='bank' needs a bank; write teacher=dict(..., bank='FOLDER').")
        self.weight = weight
        self.max_regions = max_regions
        self.min_size = min_size
        self.nms_iou = nms_iou
        self.with_truth = with_truth
        self.proposals = proposals
        self.batch = batch

    def sample(self, proposals: list[InstanceData], data_samples: list[DetDataSample]) -> Regions:
        """The best proposals of every picture, and its annotated boxes where asked for.

        Raises:
            DataError: If the bank that proposals come from is damaged.
            ConfigError: If the pictures were cropped before, so that the bank cannot be asked.
            MissingFileError: If there is no bank of this teacher.
        """
        pairs = zip(proposals, data_samples, strict=True)
        return Regions([self._choose(*self._candidates(found, sample), sample) for found, sample in pairs])

    def _candidates(self, found: InstanceData, sample: DetDataSample) -> tuple[Tensor, Tensor]:
        if self.proposals == 'detector':
            return found.bboxes.detach(), found.scores.detach()
        assert self.teacher.bank is not None
        boxes_N4 = self.teacher.bank.regions(sample.metainfo['img_path']).boxes_M4.to(found.bboxes)
        # Falling scores keep the stored order.
        return from_disk(boxes_N4, sample.metainfo), torch.linspace(1, 0, len(boxes_N4)).to(boxes_N4)

    def _choose(self, boxes_N4: Tensor, scores_N: Tensor, sample: DetDataSample) -> Tensor:
        if self.with_truth:
            truth_G4 = sample.gt_instances.bboxes.to(boxes_N4)
            boxes_N4 = torch.cat([truth_G4, boxes_N4])
            # Objectness stays below 1, so annotated boxes win.
            scores_N = torch.cat([scores_N.new_full((len(truth_G4),), 2.0), scores_N])
        # Beyond img_shape the batch is padding.
        boxes_N4 = torchvision.ops.clip_boxes_to_image(boxes_N4, sample.img_shape[:2])
        kept_N = torchvision.ops.remove_small_boxes(boxes_N4, self.min_size)
        boxes_N4, scores_N = boxes_N4[kept_N], scores_N[kept_N]
        if self.nms_iou < 1:
            best_N = torchvision.ops.nms(boxes_N4, scores_N, self.nms_iou)
        else:
            best_N = scores_N.argsort(descending=True, stable=True)
        return boxes_N4[best_N[: self.max_regions]]

    def losses(
        self, region_ND: Tensor, regions: Regions, pictures_B3HW: Tensor, data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """``loss_distill``: weight times the mean over regions of the sum over channels of |z - v|."""
        if len(regions) == 0:
            return {'loss_distill': region_ND.sum() * 0}
        shapes = [sample.img_shape[:2] for sample in data_samples]
        metas = [sample.metainfo for sample in data_samples]
        teacher_ND = self.teacher(pictures_B3HW, regions.boxes, shapes, metas)
        return {'loss_distill': self.weight * embedding_l1(region_ND, teacher_ND)}


def embedding_l1(region_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Mean over regions of the sum over channels of the absolute difference of unit embeddings.

    The sum over channels is D times the mean that a plain L1 loss takes.

    Args:
        region_ND: Student embeddings, any length.
        teacher_ND: Teacher embeddings, unit rows.
    """
    return (functional.normalize(region_ND, dim=1) - teacher_ND).abs().sum(dim=1).mean()
