"""The factor between cosines and logits.

CLIP (arXiv:2103.00020), Sec. 2.3 and 2.5: learned as the exponential of a parameter and bounded by 100.
"""

import math

import torch
from torch import Tensor, nn

from vlm_dense.errors import ConfigError


class LogitScale(nn.Module):
    """A positive number, learned or not.

    Args:
        start: Its value at first.
        learn: Whether it is learned.
        bound: It is never larger.

    Raises:
        ConfigError: If it does not start above 0 and within the bound.
    """

    log: Tensor

    def __init__(self, start: float, learn: bool = True, bound: float = 100.0) -> None:
        super().__init__()
        if not 0 < start <= bound:
            raise ConfigError(f'scale={start} is not above 0 and at most max_scale={bound}; change one of them.')
        self.log_bound = math.log(bound)
        if learn:
            self.log = nn.Parameter(torch.tensor(math.log(start)))
        else:
            self.register_buffer('log', torch.tensor(math.log(start)), persistent=False)

    def forward(self) -> Tensor:
        """The number, ()."""
        # Above the bound the slope passes through, or the parameter would never come back.
        over = (self.log - self.log_bound).clamp_min(0)
        return (self.log - over.detach()).exp()
