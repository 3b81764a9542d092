"""Losses as parts of recipes, each with the equation that it takes."""

from vlm_dense.models.losses.focal_softmax_loss import FocalSoftmaxLoss

__all__ = ['FocalSoftmaxLoss']
