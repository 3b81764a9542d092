"""Losses as parts of recipes, each with the equation that it takes."""

from vlm_dense.models.losses.distillation_kl import DistillationKL
from vlm_dense.models.losses.focal_softmax_loss import FocalSoftmaxLoss
from vlm_dense.models.losses.gathered_contrast import GatheredContrast
from vlm_dense.models.losses.inter_image_contrast import InterImageContrast
from vlm_dense.models.losses.text_keys import text_keys, token_keys
from vlm_dense.models.losses.token_focal_loss import TokenFocalLoss
from vlm_dense.models.losses.void_weighted_cross_entropy import VoidWeightedCrossEntropy
from vlm_dense.models.losses.word_region_alignment import WordRegionAlignment

__all__ = [
    'DistillationKL',
    'FocalSoftmaxLoss',
    'GatheredContrast',
    'InterImageContrast',
    'TokenFocalLoss',
    'VoidWeightedCrossEntropy',
    'WordRegionAlignment',
    'text_keys',
    'token_keys',
]
