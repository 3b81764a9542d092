"""Heads that give every pixel an embedding and every word a score map."""

from vlm_dense.models.decode_heads.dense_map_head import DenseMapHead
from vlm_dense.models.decode_heads.dpt_pixel_head import DPTPixelHead
from vlm_dense.models.decode_heads.film_pixel_head import FilmPixelHead
from vlm_dense.models.decode_heads.ov_decode_head import OVDecodeHead
from vlm_dense.models.decode_heads.pixel_linear_classifier import PixelLinearClassifier
from vlm_dense.models.decode_heads.pixels import Pixels
from vlm_dense.models.decode_heads.pyramid_pixel_head import PyramidPixelHead
from vlm_dense.models.decode_heads.refine_fusion import RefineFusion
from vlm_dense.models.decode_heads.request_head import RequestHead

__all__ = [
    'DPTPixelHead',
    'DenseMapHead',
    'FilmPixelHead',
    'OVDecodeHead',
    'PixelLinearClassifier',
    'Pixels',
    'PyramidPixelHead',
    'RefineFusion',
    'RequestHead',
]
