"""Blend of a detector's probabilities with those of a vision-language model."""

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError


def score_ensemble(
    detector_NK: Tensor,
    vlm_NK: Tensor,
    is_base_K: Tensor,
    base_power: float,
    novel_power: float,
    background_N: Tensor | None = None,
) -> Tensor:
    """Geometric mean with one weight for words that had boxes and another for the rest.

    ``p^(1 - a) * q^a`` with a = ``base_power`` on base words and ``novel_power`` on the others.
    Source: ViLD (arXiv:2104.13921), Eq. (6), a = 1/3 and 2/3; F-VLM (arXiv:2209.15639), Eq. (4).

    Args:
        detector_NK: Probabilities p in [0, 1], without the background; rows need not sum to 1.
        vlm_NK: Probabilities q of the same words in the same order.
        is_base_K: Boolean (K,), True where a word had boxes in training.
        base_power: Weight of q on base words, in [0, 1].
        novel_power: Weight of q on the other words, in [0, 1].
        background_N: The detector's probability of the background. Where given, the scores of a region are divided by
            their sum and it, as F-VLM's are: words and background then have probabilities that sum to 1.

    Returns:
        Scores (N, K), dtype and device of ``detector_NK``; rows do not sum to 1.

    Raises:
        ConfigError: If shapes disagree or a power leaves [0, 1].
    """
    if detector_NK.shape != vlm_NK.shape or detector_NK.shape[1] != is_base_K.shape[0]:
        raise ConfigError(
            f'cannot blend scores of shapes {tuple(detector_NK.shape)} and {tuple(vlm_NK.shape)} '
            f'over {is_base_K.shape[0]} words; drop the background column first.'
        )
    for name, power in (('base_power', base_power), ('novel_power', novel_power)):
        if not 0 <= power <= 1:
            raise ConfigError(f'{name} is {power}; it is a weight, so give a number from 0 to 1.')
    powers = (detector_NK.new_tensor(base_power), detector_NK.new_tensor(novel_power))
    power_K = torch.where(is_base_K.to(detector_NK.device), *powers)
    scores_NK = detector_NK ** (1 - power_K) * vlm_NK.to(detector_NK) ** power_K
    if background_N is None:
        return scores_NK
    return scores_NK / (scores_NK.sum(dim=1) + background_N.to(scores_NK))[:, None]
