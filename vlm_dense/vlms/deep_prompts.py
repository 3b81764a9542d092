"""Deep visual prompts: learned tokens that stand beside the cells in each block of a transformer."""

from collections.abc import Collection
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.adapters import read_blocks
from vlm_dense.vlms.tower import ImageTower


class DeepPrompts(nn.Module):
    """Learned tokens for each block, between the class token and the cells (VPT-deep, arXiv:2203.12119, section 3.2).

    A block's prompts take part in its attention and are dropped after it, so no later block and no map sees them. The
    tower's answers change from the start: a softmax over more tokens gives each less. Tokens start uniform within
    sqrt(6 / (3 p^2 + C)), with patches of p x p pixels.

    Attributes:
        tokens_NPC: N blocks, P tokens, of the tower's width C.

    Args:
        blocks: N.
        tokens: P.
        width: C.
        patch: p, in pixels.
        prefix: How many tokens stand before the prompts.
        projected: Send the tokens of all blocks through one learned linear layer, as ZegCLIP (arXiv:2212.03588) does.
        dropout: Share of the tokens' entries that is dropped in training.
    """

    def __init__(
        self, blocks: int, tokens: int, width: int, patch: int, prefix: int, projected: bool, dropout: float
    ) -> None:
        super().__init__()
        bound = sqrt(6 / (3 * patch**2 + width))
        self.tokens_NPC = nn.Parameter(torch.empty(blocks, tokens, width).uniform_(-bound, bound))
        self.project = nn.Linear(width, width) if projected else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.prefix = prefix

    def insert(self, number: int, block: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Before a block, put its prompts behind the first tokens: a forward pre-hook, once the number is bound."""
        tokens_BLC, *rest = args
        prompts_PC = self.dropout(self.project(self.tokens_NPC[number])).to(tokens_BLC.dtype)
        prompts_BPC = prompts_PC.expand(len(tokens_BLC), -1, -1)
        parts = (tokens_BLC[:, : self.prefix], prompts_BPC, tokens_BLC[:, self.prefix :])
        return torch.cat(parts, dim=1), *rest

    def drop(self, block: Any, args: tuple[Any, ...], tokens_BLC: Tensor) -> Tensor:
        """After a block, take them out: a forward hook."""
        behind = self.prefix + self.tokens_NPC.shape[1]
        return torch.cat([tokens_BLC[:, : self.prefix], tokens_BLC[:, behind:]], dim=1)


def add_prompts(
    tower: ImageTower,
    tokens: int,
    blocks: int | None = None,
    projected: bool = False,
    dropout: float = 0.0,
    read: Collection[int] | None = None,
) -> DeepPrompts:
    """Put deep prompts into a tower, as ``tower.prompts``: every read-out of it then has them, at any picture size.

    Args:
        tower: A tower over a vision transformer; changed in place.
        tokens: Prompts in each block.
        blocks: Only the first so many blocks; None is all.
        projected: As in `DeepPrompts`.
        dropout: As in `DeepPrompts`.
        read: Ids of the parameters that are read; blocks without any get no prompts. None is all.

    Raises:
        ConfigError: If the tower is no transformer, has prompts already, or reads its last block with an attention of
            its own; or if there are no tokens or not so many blocks.
    """
    carriers = _carriers(tower, tokens, blocks, read)
    convolution = next(module for module in tower.modules() if isinstance(module, nn.Conv2d))
    width, patch = convolution.out_channels, convolution.kernel_size[0]
    prompts = DeepPrompts(len(carriers), tokens, width, patch, tower.prefix_tokens, projected, dropout)
    for number, block in enumerate(carriers):
        block.register_forward_pre_hook(partial(prompts.insert, number))
        block.register_forward_hook(prompts.drop)
        # Rotary attention turns what stands behind its first tokens.
        if hasattr(block.attn, 'num_prefix_tokens'):
            block.attn.num_prefix_tokens += tokens
    tower.prompts = prompts
    return prompts


def _carriers(tower: ImageTower, tokens: int, blocks: int | None, read: Collection[int] | None) -> list[Any]:
    """The blocks that get prompts."""
    found, name = read_blocks(tower, read), type(tower).__name__
    if not found or hasattr(tower, 'prompts'):
        problem = 'has prompts already' if found else 'has no transformer blocks'
        raise ConfigError(f'prompts: {name} {problem}. Leave prompts out.')
    if getattr(tower, 'readout', None) in ('qq+kk', 'qq'):
        raise ConfigError(f"prompts: {name} has readout='{tower.readout}', which knows none. Write 'plain' or 'value'.")
    depth = len(found) if blocks is None else blocks
    if tokens < 1 or not 1 <= depth <= len(found):
        raise ConfigError(
            f'prompts tokens={tokens}, blocks={blocks} of {name}: write at least one token, 1 to {len(found)} blocks.'
        )
    return found[:depth]
