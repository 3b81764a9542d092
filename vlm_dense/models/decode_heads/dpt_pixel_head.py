"""Pixel embeddings from the tokens of a plain vision transformer.

Source: DPT (arXiv:2103.13413), Sec. 3; with the settings of LSeg (arXiv:2201.03546), Sec. 3.2: readout
"project", batch norm in the fusion blocks, a 1x1 convolution to the width of the words.
"""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.dpt_head import ReassembleBlocks
from torch import Tensor, nn

from vlm_dense.models.decode_heads.ov_decode_head import OVDecodeHead
from vlm_dense.models.decode_heads.pixels import Pixels
from vlm_dense.models.decode_heads.refine_fusion import BATCH_NORM, RefineFusion
from vlm_dense.registry import MODELS


@MODELS.register_module()
class DPTPixelHead(OVDecodeHead):
    """Four token maps -> strides 4, 8, 16, 32 -> fusion -> embeddings at stride 2 (for patches of 16).

    Args:
        in_channels: Width of the transformer.
        embed_dim: Width D of pixel and word embeddings.
        reassemble_channels: Channels of the four reassembled maps, finest first.
        channels: Channels of the fused maps.
        readout: What becomes of the class token: 'project', 'add' or 'ignore'.
        patch_size: Patch of the transformer in pixels.
        norm_cfg: Normalisation inside the fusion blocks.
        align_corners: For all resizing here.
        kwargs: Arguments of ``OVDecodeHead``.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        reassemble_channels: Sequence[int] = (256, 512, 1024, 1024),
        channels: int = 256,
        readout: str = 'project',
        patch_size: int = 16,
        norm_cfg: dict | None = BATCH_NORM,
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(align_corners=align_corners, **kwargs)
        self.reassemble = ReassembleBlocks(in_channels, list(reassemble_channels), readout, patch_size)
        self.fusion = RefineFusion(reassemble_channels, channels, norm_cfg, align_corners)
        self.project = nn.Conv2d(channels, embed_dim, 1)

    def embed(self, features: Sequence[Sequence[Tensor]]) -> Pixels:
        """Pixel embeddings, not normalised, and no gate.

        Args:
            features: Per tap a pair (map (B, C, h, w), class token (B, C)), as ``TowerBackbone(class_token=True)``
                and mmseg's ``VisionTransformer(output_cls_token=True)`` give them.

        Returns:
            (B, D, 8 h, 8 w); an odd h or w counts as the next even number, the maps being stretched to it.
        """
        return Pixels(self.project(self.fusion(self.reassemble(list(features)))))
