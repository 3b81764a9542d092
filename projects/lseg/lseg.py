"""The one part that only LSeg has: spatial regularisation of score maps.

Source: Li et al., "Language-driven Semantic Segmentation" (ICLR 2022, arXiv:2201.03546), Sec. 3.2 "Spatial
regularization". Everything else of the method is library parts, see ``configs/lseg_vit_l16_ade20k.py``.

Shapes: B images, K score maps (words and, where there is one, the background), h w cells.
"""

from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS

ACTIVATIONS = {'relu': nn.ReLU, 'lrelu': nn.LeakyReLU, 'tanh': nn.Tanh}


@MODELS.register_module()
class SpatialBlock(BaseModule):
    """Smooths every score map with the same 3x3 kernel, whatever the words are.

    One kernel and one bias (10 numbers) serve all maps and all rounds; the maps meet only in a maximum over
    words. So the block takes any K and commutes with every permutation of the words. The last round has no
    activation.

    Args:
        kind: 'depthwise': the kernel alone; 'bottleneck': the kernel plus, at every cell, the largest
            score of any word.
        depth: Number of rounds, at least 1.
        activation: Between rounds: 'relu', 'lrelu' or 'tanh'.
        start: 'random' (PyTorch's, as published) or 'identity' (the kernel starts as a copy of its
            centre, for short training).

    Raises:
        ConfigError: If an argument is none of these.
    """

    def __init__(
        self,
        kind: Literal['depthwise', 'bottleneck'] = 'bottleneck',
        depth: int = 1,
        activation: str = 'lrelu',
        start: Literal['random', 'identity'] = 'random',
    ) -> None:
        super().__init__()
        choices = (
            ('kind', kind, ('depthwise', 'bottleneck')),
            ('activation', activation, tuple(ACTIVATIONS)),
            ('start', start, ('random', 'identity')),
        )
        for name, value, known in choices:
            if value not in known:
                raise ConfigError(f'SpatialBlock: {name}={value!r}; choose one of {", ".join(known)}.')
        if depth < 1:
            raise ConfigError(f'SpatialBlock: depth={depth}; give at least 1, or leave the block out.')
        self.adds_maximum = kind == 'bottleneck'
        self.depth = depth
        self.activation = ACTIVATIONS[activation]()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        if start == 'identity':
            nn.init.dirac_(self.conv.weight)
            nn.init.zeros_(self.conv.bias)

    def forward(self, logits_BKhw: Tensor) -> Tensor:
        """Refined logits of the same shape."""
        for round_ in range(self.depth):
            if round_ > 0:
                logits_BKhw = self.activation(logits_BKhw)
            logits_BKhw = self._smooth(logits_BKhw)
        return logits_BKhw

    def _smooth(self, logits_BKhw: Tensor) -> Tensor:
        # As many groups as words: on CPUs several times as fast as as many pictures of one channel.
        words = logits_BKhw.shape[1]
        kernel_K133, bias_K = self.conv.weight.expand(words, -1, -1, -1), self.conv.bias.expand(words)
        smooth_BKhw = functional.conv2d(logits_BKhw, kernel_K133, bias_K, padding=1, groups=words)
        if self.adds_maximum:
            smooth_BKhw = smooth_BKhw + torch.amax(logits_BKhw, dim=1, keepdim=True)
        return smooth_BKhw
