"""What a head says about regions, and what a region encoder says, made one score per word.

Shapes: N regions, K words. Further axes may stand before N. Probabilities are blended as their logarithms, in float32
or wider, so that none of them is lost on the way.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS

Void = Literal['own', 'shared', 'factor', 'normalised']
Empty = Literal['keep', 'one', 'own', 'drop']
VOIDS: tuple[str, ...] = ('own', 'shared', 'factor', 'normalised')
EMPTIES: tuple[str, ...] = ('keep', 'one', 'own', 'drop')

LOG_ZERO = -1e30  # The logarithm of 0, finite: times a power of 0 it is 0.


@MODELS.register_module()
class ScoreFusion:
    """Geometric mean of a head's own probabilities a and a region encoder's c: a^(1 - w) c^w.

    | source                                | base_power, novel_power | void         | empty  | else          |
    |---------------------------------------|-------------------------|--------------|--------|---------------|
    | ViLD (arXiv:2104.13921), Sec. 3.4     | 1/3, 2/3                | 'own'        |        |               |
    | F-VLM (arXiv:2209.15639), Eq. (4)     | 0.35, 0.65              | 'normalised' |        |               |
    | ZSSeg (arXiv:2112.14757)              | 0.2, 0.8                | 'own'        | 'one'  |               |
    | ZegFormer (arXiv:2112.07910)          | 1/3, 2/3                | 'shared'     | 'keep' | ``seen_mean`` |
    | the same, other data sets             | 2/3, 2/3                | 'shared'     | 'keep' |               |
    | OVSeg (arXiv:2210.04150), A-150       | 0.7, 0.7                | 'own'        | 'one'  |               |
    | FC-CLIP (arXiv:2308.02487), ConvNeXt  | 0.4, 0.8                | 'factor'     | 'keep' |               |
    | the same, ResNets                     | 0.4, 0.8                | 'factor'     | 'own'  |               |

    Softmaxes run over all words of a request, so more words change every score. They change no quotient of the scores
    of two words of the same group, seen or unseen.

    Args:
        base_power: w of seen words, in [0, 1].
        novel_power: w of unseen words, in [0, 1].
        seen_mean: The region encoder gives all seen words of a region the mean of their probabilities: it has no say
            between them (ZegFormer).
        void: What becomes of the head's last column, which stands for no word. 'own': it takes its part of the head's
            softmax. 'shared': its logit also takes part in the region encoder's softmax (ZegFormer). 'factor': both
            softmaxes run over the words alone, the blend is divided by its sum and multiplied by 1 - the void's
            probability (FC-CLIP). 'normalised': as 'own', and the blend is divided by its sum and the void's
            probability, so that both together sum to 1 (F-VLM's release).
        empty: What c is where nothing was inside of a region. 'keep': whatever the region encoder said. 'one': 1 for
            every word (ZSSeg, OVSeg). 'own': the score is the head's own, w = 0 (FC-CLIP on valid masks alone).
            'drop': all scores are 0, which with powers of 1 is OVSeg's demo, CLIP alone on valid masks.

    Raises:
        ConfigError: If a power leaves [0, 1], or ``void`` or ``empty`` is none of its values.
    """

    def __init__(
        self,
        base_power: float,
        novel_power: float,
        seen_mean: bool = False,
        void: Void = 'own',
        empty: Empty = 'keep',
    ) -> None:
        for name, power in (('base_power', base_power), ('novel_power', novel_power)):
            if not 0 <= power <= 1:
                raise ConfigError(f'{name} of ScoreFusion is {power}; it is a weight, so give a number from 0 to 1.')
        if void not in VOIDS:
            raise ConfigError(f'void={void!r} of ScoreFusion: write one of {", ".join(VOIDS)}.')
        if empty not in EMPTIES:
            raise ConfigError(f'empty={empty!r} of ScoreFusion: write one of {", ".join(EMPTIES)}.')
        self.base_power = base_power
        self.novel_power = novel_power
        self.seen_mean = seen_mean
        self.void = void
        self.empty = empty

    def __call__(self, own_NK1: Tensor, region_NK: Tensor | None, empty_N: Tensor | None, is_base_K: Tensor) -> Tensor:
        """Scores of every word, and of the background where the head has one.

        Args:
            own_NK1: Logits of the head, (N, K + 1), the void last; or (N, K + 2), a background before it.
            region_NK: Logits of the region encoder, (N, K); or (N, K + 1), what stands for no word last, which only
                takes its part of the softmax. None: the scores are the head's own probabilities.
            empty_N: Boolean (N,), where nothing was inside of a region; None for nowhere.
            is_base_K: Boolean (K,), seen words.

        Returns:
            (N, K), or (N, K + 1) with the background last, whose score is the head's own before any sum is taken.

        Raises:
            ConfigError: If the columns do not fit the number of words.
        """
        self._check(own_NK1, region_NK, len(is_base_K))
        own_NK1 = _finite(own_NK1)
        own_NK, void_N1 = own_NK1.log_softmax(dim=-1).tensor_split([-1], dim=-1)
        if region_NK is None:
            return own_NK.exp()
        is_base_K = is_base_K.to(own_NK1.device)
        named_NK = own_NK1[..., :-1].log_softmax(dim=-1) if self.void == 'factor' else own_NK
        log_NK = self._region_logs(_finite(region_NK).to(own_NK1), own_NK1[..., -1:], is_base_K)
        words_NK, background_NB = named_NK.tensor_split([len(is_base_K)], dim=-1)
        blend_NK = torch.cat([self.blend(words_NK, log_NK, is_base_K, empty_N), background_NB], dim=-1)
        if self.void == 'factor':
            blend_NK = blend_NK.log_softmax(dim=-1) + own_NK.logsumexp(dim=-1, keepdim=True)
        elif self.void == 'normalised':
            blend_NK = blend_NK - torch.cat([blend_NK, void_N1], dim=-1).logsumexp(dim=-1, keepdim=True)
        score_NK = blend_NK.exp()
        if self.empty == 'drop' and empty_N is not None:
            score_NK = score_NK.masked_fill(empty_N[..., None], 0)
        return score_NK

    def blend(self, own_NK: Tensor, region_NK: Tensor, is_base_K: Tensor, empty_N: Tensor | None = None) -> Tensor:
        """(1 - w) log a + w log c: (N, K), for some or all of the words.

        Args:
            own_NK: log a, minus infinity for 0.
            region_NK: log c of the same words.
            is_base_K: Boolean (K,), seen words.
            empty_N: As in the call.
        """
        own_NK, region_NK = _finite(own_NK), _finite(region_NK)
        powers = (own_NK.new_tensor(self.base_power), own_NK.new_tensor(self.novel_power))
        power_NK = torch.where(is_base_K.to(own_NK.device), *powers)
        if empty_N is not None and self.empty == 'one':
            region_NK = region_NK.masked_fill(empty_N[..., None], 0)
        if empty_N is not None and self.empty == 'own':
            power_NK = power_NK * ~empty_N[..., None]
        return torch.lerp(own_NK, region_NK, power_NK)

    def _region_logs(self, region_NK: Tensor, void_N1: Tensor, is_base_K: Tensor) -> Tensor:
        """log c, (N, K)."""
        if self.void == 'shared':
            region_NK = torch.cat([region_NK, void_N1], dim=-1)
        log_NK = region_NK.log_softmax(dim=-1)[..., : len(is_base_K)]
        if not self.seen_mean or not is_base_K.any():
            return log_NK
        seen_NJ = log_NK[..., is_base_K]
        mean_N1 = seen_NJ.logsumexp(dim=-1, keepdim=True) - math.log(seen_NJ.shape[-1])
        return torch.where(is_base_K, mean_N1, log_NK)

    @staticmethod
    def _check(own_NK1: Tensor, region_NK: Tensor | None, count: int) -> None:
        """Columns beside the words: the void and perhaps a background; of the region encoder one at most."""
        beside_own = own_NK1.shape[-1] - count
        beside_region = 0 if region_NK is None else region_NK.shape[-1] - count
        if beside_own not in (1, 2) or beside_region not in (0, 1):
            shape = None if region_NK is None else tuple(region_NK.shape)
            raise ConfigError(
                f'cannot fuse own logits {tuple(own_NK1.shape)} and region logits {shape} of {count} words; give '
                f'{count + 1} or {count + 2} columns, the void last, and {count} or {count + 1} of the region encoder.'
            )


def calibrate(score_K: Tensor, is_base_K: Tensor, gamma: float) -> Tensor:
    """Calibrated stacking: scores of seen words less a constant, so that unseen words win more often.

    Source: Chao et al. (arXiv:1605.04253); ZegFormer (arXiv:2112.07910) takes 0.1 on COCO-Stuff.

    Args:
        score_K: Scores (K, ...), such as maps; rows behind the K words stay as they are.
        is_base_K: Boolean (K,), seen words.
        gamma: Subtracted from theirs; 0 for no calibration.
    """
    is_seen = score_K.new_zeros(len(score_K), dtype=torch.bool)
    is_seen[: len(is_base_K)] = is_base_K.to(score_K.device)
    return score_K - gamma * is_seen.to(score_K).view(-1, *[1] * (score_K.dim() - 1))


def _finite(logits: Tensor) -> Tensor:
    """In float32 at least, and without minus infinity."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).clamp_min(LOG_ZERO)
