"""Regions learn the words that a frozen teacher gives them, out of a pool.

Shapes: N regions, n of them kept, P words of the pool, D embedding width.

Source: RegionCLIP (arXiv:2112.09106), Sec. 3.2, and the constants of its release. With the student's region v, the
teacher's v', pool words w_j, and temperature T,

    q' = softmax_j(cos(v', w_j) / T),  q = softmax_j(cos(v, w_j) / T),  label = argmax_j q'_j
    distillation:  mean over kept regions of KL(q' || q)
    contrast:      mean of -log( sum_{k: label_k = label_i} exp(cos(v_i, w_label_k) / T) / sum_k exp(same) )

where i and k run over the kept regions of the batch: those with max q' above a threshold, or all if no region has one.
"""

from typing import Any, Literal

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.functional import normalize

from vlm_dense.errors import ConfigError
from vlm_dense.models.branches.base import Regions
from vlm_dense.models.branches.roi_teacher import RoiTeacher
from vlm_dense.models.losses import DistillationKL, GatheredContrast
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.vocabulary import Vocabulary


@MODELS.register_module()
class RegionConcepts(BaseModule):
    """Distillation and contrast of regions against a pool of words.

    Args:
        teacher: Arguments of `RoiTeacher`.
        pool: The words: anything ``Vocabulary.build`` accepts, such as a file of tools/concept_pool.py.
        bank: Text bank of the student's words, or its config.
        teacher_bank: Of the teacher's, where the two towers have different spaces; None takes the student's.
        temperature: T.
        min_score: A region is kept where the teacher is surer than this.
        max_regions: So many regions of a picture are drawn at random from the proposals.
        distill_weight: Factor of the distillation; 0 leaves it out.
        contrast_weight: Factor of the contrast; 0 leaves it out.
        batch: Name of the batch that feeds the branch.

    Raises:
        ConfigError: If the teacher and its bank have different widths.
    """

    embedding: Literal['text', 'image'] = 'text'

    def __init__(
        self,
        teacher: dict,
        pool: Any,
        bank: Any,
        teacher_bank: Any = None,
        temperature: float = 0.01,
        min_score: float = 0.1,
        max_regions: int = 100,
        distill_weight: float = 1.0,
        contrast_weight: float = 1.0,
        batch: str = 'captions',
    ) -> None:
        super().__init__()
        self.teacher = RoiTeacher(**teacher)
        self.pool = Vocabulary.build(pool)
        # Plain attributes even where banks are modules: their weights are not this model's.
        self.__dict__['bank'] = build_part(bank)
        other = build_part(teacher_bank)
        self.__dict__['teacher_bank'] = self.bank if other is None else other
        if self.teacher_bank.embed_dim != self.teacher.embed_dim:
            raise ConfigError(
                f"RegionConcepts: the teacher's regions have {self.teacher.embed_dim} numbers, its words "
                f'{self.teacher_bank.embed_dim}; give the words of the same pair as teacher_bank.'
            )
        self.temperature = temperature
        self.min_score = min_score
        self.max_regions = max_regions
        self.batch = batch
        self.distill = DistillationKL(temperature, temperature, distill_weight) if distill_weight else None
        scale = 1 / temperature
        self.contrast = (
            GatheredContrast(
                scale, False, max(scale, 100.0), symmetric=False, gather=False, loss_weight=contrast_weight
            )
            if contrast_weight
            else None
        )

    def sample(self, proposals: list[InstanceData], data_samples: list[DetDataSample]) -> Regions:
        """Some proposals of every picture, drawn at random."""
        drawn = [torch.randperm(len(found.bboxes))[: self.max_regions] for found in proposals]
        return Regions([found.bboxes[rows].detach() for found, rows in zip(proposals, drawn, strict=True)])

    def losses(
        self, region_ND: Tensor, regions: Regions, pictures_B3HW: Tensor, data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """``loss_distill`` and ``loss_contrast`` of the kept regions, and how large a part of the regions is kept."""
        teacher_NP = self._teacher_similarity(pictures_B3HW, regions)
        kept_N, label_N = self.pseudo_labels(teacher_NP)
        student_nD, label_n = normalize(region_ND[kept_N].float(), dim=1), label_N[kept_N]
        pool_PD = self.bank(self.pool).to(student_nD)
        losses = {}
        if self.distill is not None:
            losses['loss_distill'] = self.distill(_products(student_nD, pool_PD), teacher_NP[kept_N])
        if self.contrast is not None:
            losses['loss_contrast'] = self.contrast(student_nD, pool_PD[label_n], (label_n, label_n))
        return {**losses, 'kept': kept_N.sum() / max(len(kept_N), 1)}

    def pseudo_labels(self, teacher_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Which regions are kept (N,), boolean, and the teacher's word for each region (N,).

        Args:
            teacher_NP: The teacher's cosines.
        """
        score_N, label_N = (teacher_NP / self.temperature).softmax(dim=1).max(dim=1)
        kept_N = score_N > self.min_score
        return (kept_N if kept_N.any() else torch.ones_like(kept_N)), label_N

    def _teacher_similarity(self, pictures_B3HW: Tensor, regions: Regions) -> Tensor:
        teacher_ND = self.teacher(pictures_B3HW, regions.boxes).float()
        return _products(teacher_ND, self.teacher_bank(self.pool).to(teacher_ND))


def _products(region_ND: Tensor, pool_PD: Tensor) -> Tensor:
    """In single precision also where the network is not: what half of it loses, a temperature of 0.01 makes large."""
    with torch.autocast(region_ND.device.type, enabled=False):
        return region_ND @ pool_PD.t()
