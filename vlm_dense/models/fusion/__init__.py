"""Images and texts that read each other."""

from vlm_dense.models.fusion.bidirectional_attention import BidirectionalAttention
from vlm_dense.models.fusion.image_text_fusion import ImageTextFusion
from vlm_dense.models.fusion.text_layer import TextLayer

__all__ = ['BidirectionalAttention', 'ImageTextFusion', 'TextLayer']
