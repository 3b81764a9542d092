"""Text encoders: texts to unit vectors."""

from vlm_dense.text.encoders.base import TextEncoder
from vlm_dense.text.encoders.bridged import BridgedTextEncoder
from vlm_dense.text.encoders.open_clip_encoder import OpenClipTextEncoder

__all__ = ['BridgedTextEncoder', 'OpenClipTextEncoder', 'TextEncoder']
