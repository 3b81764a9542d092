"""Text encoders: texts to vectors."""

from vlm_dense.text.encoders.base import TextEncoder
from vlm_dense.text.encoders.block_masks import block_mask, blocks_of_spans, restarted_positions
from vlm_dense.text.encoders.bridged import BridgedTextEncoder
from vlm_dense.text.encoders.hf_encoder import HFTextEncoder
from vlm_dense.text.encoders.hf_model import HFTextModel
from vlm_dense.text.encoders.open_clip_encoder import OpenClipTextEncoder
from vlm_dense.text.encoders.open_clip_tower import OpenClipTextTower
from vlm_dense.text.encoders.tower import TextTower, TokenVectors

__all__ = [
    'BridgedTextEncoder',
    'HFTextEncoder',
    'HFTextModel',
    'OpenClipTextEncoder',
    'OpenClipTextTower',
    'TextEncoder',
    'TextTower',
    'TokenVectors',
    'block_mask',
    'blocks_of_spans',
    'restarted_positions',
]
