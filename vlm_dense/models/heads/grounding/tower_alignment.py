"""What a tower that shares a space with words says about regions, as a part of their token scores.

Shapes: B pictures, N regions, L tokens, D width of the shared space, C channels, h x w cells of the tower's last map.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import MODELS
from vlm_dense.vlms import TowerBackbone


@MODELS.register_module()
class TowerAlignment(BaseModule):
    """Adds ``scale * cos(cell, word) + shift`` to the logit of every token that stands for a word.

    A head that learns what words look like from few of them knows little of others; the tower, which was not trained
    on boxes, does not prefer any. Every cell of the tower's last map goes through its remaining layers alone, and its
    cosines are enlarged bilinearly to the levels of the head. The tower's weights are the backbone's.

    Source: ours; the shared space is what lets MaskCLIP (arXiv:2112.01071) and F-VLM (arXiv:2209.15639) find words that
    nothing was trained on.

    Args:
        scale: Where the learned factor on the cosine starts.
        shift: Where the learned constant starts.
    """

    def __init__(self, scale: float = 8.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.shift = nn.Parameter(torch.tensor(shift))

    def cells(self, backbone: TowerBackbone, last_BChw: Tensor) -> Tensor:
        """Unit embeddings (B, D, h, w) of the cells of a backbone's last map."""
        cell_MC11 = last_BChw.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]
        embedded_MD = backbone.tower.embed_regions(cell_MC11, backbone.out_indices[-1])
        return (
            functional.normalize(embedded_MD, dim=1).view(len(last_BChw), *last_BChw.shape[2:], -1).permute(0, 3, 1, 2)
        )

    def forward(self, cell_BDhw: Tensor, word_BLD: Tensor, sizes: Sequence[torch.Size]) -> Tensor:
        """What is added to the logits, (B, N, L).

        Args:
            cell_BDhw: Of `cells`.
            word_BLD: Unit row of each token's word, 0 where it has none; B or 1 texts.
            sizes: Cells (h, w) of every level of the head, finest first.
        """
        word_BLD = word_BLD.to(cell_BDhw).expand(len(cell_BDhw), -1, -1)
        cosine_BLhw = torch.einsum('bdhw,bld->blhw', cell_BDhw, word_BLD)
        levels = [
            functional.interpolate(cosine_BLhw, size=tuple(size), mode='bilinear', align_corners=False)
            for size in sizes
        ]
        cosine_BNL = torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)
        is_word_BL = (word_BLD != 0).any(dim=2)
        return (self.scale * cosine_BNL + self.shift) * is_word_BL[:, None]
