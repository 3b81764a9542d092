"""Segmentors that are told their words with every request."""

from vlm_dense.models.segmentors.ov_encoder_decoder import OVEncoderDecoder

__all__ = ['OVEncoderDecoder']
