"""One step of deep fusion: a picture's cells and a text's tokens, each renewed by the other.

Shapes: B pictures with a text each, N cells of all levels, L tokens, C image width, T text width.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlm_dense.models.fusion.bidirectional_attention import BidirectionalAttention

INIT_SCALE = 1 / 6  # layer scale at the start


class ImageTextFusion(nn.Module):
    """GLIP's fusion (arXiv:2112.03857), Sec. 3.2, with the keys of mmdet's ``VLFuse``.

    Args:
        image_width: C.
        text_width: T.
        embed_width: Width in which cells and tokens are compared.
        num_heads: Heads of the attention.
        dropout: Rate at which attention is dropped in training.
        use_checkpoint: In training, compute the attention again for the backward pass and keep nothing of it.
    """

    def __init__(
        self,
        image_width: int = 256,
        text_width: int = 768,
        embed_width: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.1,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.use_checkpoint = use_checkpoint
        self.b_attn = _ScaledAttention(image_width, text_width, embed_width, num_heads, dropout)

    def normalise(self, image_BNC: Tensor) -> Tensor:
        """The cells as ``forward`` takes them; that part of the step needs no text."""
        return self.b_attn.layer_norm_v(image_BNC)

    def forward(self, image_BNC: Tensor, text_BLT: Tensor, is_token_BL: Tensor | None) -> tuple[Tensor, Tensor]:
        """Renewed cells (B, N, C) and tokens (B, L, T).

        Args:
            image_BNC: Cells that ``normalise`` gave.
            text_BLT: Tokens.
            is_token_BL: False where a text is padded; None: no text is.
        """
        if self.use_checkpoint and self.training:
            return checkpoint(self.b_attn, image_BNC, text_BLT, is_token_BL, use_reentrant=False)
        return self.b_attn(image_BNC, text_BLT, is_token_BL)


class _ScaledAttention(nn.Module):
    def __init__(self, image_width: int, text_width: int, embed_width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm_v = nn.LayerNorm(image_width)
        self.layer_norm_l = nn.LayerNorm(text_width)
        self.attn = BidirectionalAttention(image_width, text_width, embed_width, num_heads, dropout)
        self.gamma_v = nn.Parameter(torch.full((image_width,), INIT_SCALE))
        self.gamma_l = nn.Parameter(torch.full((text_width,), INIT_SCALE))

    def forward(self, image_BNC: Tensor, text_BLT: Tensor, is_token_BL: Tensor | None) -> tuple[Tensor, Tensor]:
        # The sums start from the normalised states: the released weights were trained so.
        text_BLT = self.layer_norm_l(text_BLT)
        image_step_BNC, text_step_BLT = self.attn(image_BNC, text_BLT, is_token_BL)
        return (
            torch.addcmul(image_BNC, self.gamma_v, image_step_BNC),
            torch.addcmul(text_BLT, self.gamma_l, text_step_BLT),
        )
