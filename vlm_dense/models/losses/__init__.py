"""Losses as parts of recipes, each with the equation that it takes."""

from vlm_dense.models.losses.focal_softmax_loss import FocalSoftmaxLoss
from vlm_dense.models.losses.gathered_contrast import GatheredContrast
from vlm_dense.models.losses.text_keys import text_keys

__all__ = ['FocalSoftmaxLoss', 'GatheredContrast', 'text_keys']
