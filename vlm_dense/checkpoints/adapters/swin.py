"""The authors' Swin Transformer (arXiv:2103.14030), and detectron2's copies of it, to mmdet's and mmseg's."""

from torch import Tensor

from vlm_dense.checkpoints.adapters.renaming import Rules, rename

RULES: Rules = (
    (r'patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.', r'stages.\1.blocks.\2.ffn.layers.0.0.'),
    (r'layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.', r'stages.\1.blocks.\2.ffn.layers.1.'),
    (r'layers\.(\d+)\.blocks\.(\d+)\.attn\.', r'stages.\1.blocks.\2.attn.w_msa.'),
    (r'layers\.', 'stages.'),
)


def from_swin(name: str, weight: Tensor) -> tuple[str, Tensor]:
    """mmdet's name and weight for one of Swin, without ``backbone.`` before it.

    The four cells that a stage merges stand one after the other there, and channel by channel in mmdet's Swin
    (``nn.Unfold``), so norm and reduction change their order.
    """
    renamed = rename(name, RULES) or name
    if '.downsample.' not in name:
        return renamed, weight
    cells = weight.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return renamed, cells.transpose(-1, -2).flatten(-2)
