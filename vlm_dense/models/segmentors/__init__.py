"""Segmentors that are told their words with every request."""

from vlm_dense.models.segmentors.ov_encoder_decoder import OVEncoderDecoder
from vlm_dense.models.segmentors.ov_mask_segmentor import OVMaskSegmentor
from vlm_dense.models.segmentors.word_query_segmentor import WordQuerySegmentor

__all__ = ['OVEncoderDecoder', 'OVMaskSegmentor', 'WordQuerySegmentor']
