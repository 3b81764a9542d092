"""The last blocks of a vision transformer, asked about many masks at once."""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.vlms.open_clip_tower import OpenClipTower
from vlm_dense.vlms.readouts import finish, plain_mix, project


@MODELS.register_module()
class BiasedTail(BaseModule):
    """Copies of the class token that attend to the patches with a bias each (SAN, arXiv:2302.12242).

    In every block after ``after``, a copy attends to itself and, with its bias added to the logits, to the patches;
    neither to other copies nor to the class token. Class token and patches do not see the copies, so they stay what
    the plain tower makes of them and run once per picture. Public code adds -100 where this one hides a token.

    Args:
        tower: An `OpenClipTower` or its config; only its last blocks, final norm and projection are kept.
        after: Number of the block, from 0, whose tokens come in: 8 for B/16, 17 for L/14 in the paper.
        frozen: Keep the weights in eval mode and without gradient.

    Raises:
        ConfigError: If the tower is no plain vision transformer of open_clip's, or ``after`` leaves no block.
    """

    def __init__(
        self, tower: dict | OpenClipTower, after: int = 8, frozen: bool = True, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        built: Any = build_part(tower)
        if not _is_plain(built):
            raise ConfigError(
                f'BiasedTail: {type(built).__name__} is no plain vision transformer here. '
                'Take an OpenClipTower over ViT-B-16 or its like.'
            )
        visual = built.visual
        blocks = visual.transformer.resblocks
        if not 0 <= after < len(blocks) - 1:
            raise ConfigError(f'after={after} of BiasedTail: write a block from 0 to {len(blocks) - 2}.')
        self.heads: int = blocks[0].attn.num_heads
        self.blocks = nn.ModuleList(blocks[after + 1 :])
        self.ln_post = visual.ln_post
        self.proj = visual.proj
        self.frozen = frozen
        if frozen:
            self.eval().requires_grad_(False)

    def forward(self, map_BChw: Tensor, token_BC: Tensor, bias_BHNhw: Tensor) -> Tensor:
        """What the tower says about each mask: (B, N, D) unit rows; N may be 0. Gradients reach map, token and bias.

        Args:
            map_BChw: Patches after block ``after``, as `ImageTower.class_token_pyramid` gives them.
            token_BC: Class token after the same block.
            bias_BHNhw: Added to the attention logits of N copies, per head, or one for all heads (H = 1), the same in
                every block. Finer biases are brought to the map by their maximum over its cells.

        Raises:
            DataError: If biases are for other pictures or another number of heads.
        """
        if bias_BHNhw.ndim != 5 or len(bias_BHNhw) != len(map_BChw) or bias_BHNhw.shape[1] not in (1, self.heads):
            raise DataError(
                f'biases {tuple(bias_BHNhw.shape)} came with {len(map_BChw)} maps. '
                f'Give (pictures, 1 or {self.heads} heads, masks, height, width).'
            )
        bias_BHNL = _at_cells(bias_BHNhw, map_BChw)
        copies_BNC = token_BC[:, None].expand(-1, bias_BHNL.shape[2], -1)
        tokens_BLC = torch.cat([token_BC[:, None], map_BChw.flatten(2).transpose(1, 2)], dim=1)
        for number, block in enumerate(self.blocks, start=1):
            q, k, v = project(block, tokens_BLC)
            mixed_BHNd = _biased_mix(project(block, copies_BNC), k[:, :, 1:], v[:, :, 1:], bias_BHNL)
            copies_BNC = finish(block, copies_BNC, mixed_BHNd)
            if number < len(self.blocks):
                tokens_BLC = finish(block, tokens_BLC, plain_mix(q, k, v))
        region_BNC = self.ln_post(copies_BNC)
        return F.normalize(region_BNC if self.proj is None else region_BNC @ self.proj, dim=2)

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; a frozen tail stays in eval mode."""
        return super().train(mode and not self.frozen)


def _is_plain(tower: Any) -> bool:
    """Whether it is open_clip's transformer, of blocks with torch's attention, that pools by class token."""
    from open_clip.transformer import VisionTransformer  # open_clip takes seconds to import

    visual = getattr(tower, 'visual', None)
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.pool_type != 'tok':
        return False
    return all(
        isinstance(getattr(block, 'attn', None), nn.MultiheadAttention) for block in visual.transformer.resblocks
    )


def _at_cells(bias_BHNhw: Tensor, map_BChw: Tensor) -> Tensor:
    """(B, H, N, h w)."""
    size = map_BChw.shape[2:]
    if bias_BHNhw.shape[3:] != size:
        bias_BHNhw = F.adaptive_max_pool2d(bias_BHNhw.flatten(1, 2), size).unflatten(1, bias_BHNhw.shape[1:3])
    return bias_BHNhw.flatten(3).to(map_BChw.dtype)


def _biased_mix(copies: tuple[Tensor, Tensor, Tensor], k_BHLd: Tensor, v_BHLd: Tensor, bias_BHNL: Tensor) -> Tensor:
    """Values of the patches and of each copy itself, mixed: (B, H, N, d)."""
    q_BHNd, own_k_BHNd, own_v_BHNd = copies
    q_BHNd = q_BHNd * q_BHNd.shape[-1] ** -0.5
    logits_BHNL = q_BHNd @ k_BHLd.transpose(2, 3) + bias_BHNL
    own_BHN1 = (q_BHNd * own_k_BHNd).sum(dim=3, keepdim=True)
    share_BHNL, own_share_BHN1 = torch.cat([logits_BHNL, own_BHN1], dim=3).softmax(dim=3).tensor_split([-1], dim=3)
    return share_BHNL @ v_BHLd + own_share_BHN1 * own_v_BHNd
