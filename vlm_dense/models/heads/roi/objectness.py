"""How the objectness of a proposal enters the scores of its words.

Shapes: N regions of an image, K words, k of them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError

Objectness = Literal['ignore', 'geometric_mean', 'product', 'geometric_mean_logit']
Scores = Tensor | Iterable[tuple[int, Tensor]]


def _geometric_mean(scores_NK: Tensor, objectness_N: Tensor) -> Tensor:
    return (scores_NK * objectness_N[:, None]).sqrt()


def _product(scores_NK: Tensor, objectness_N: Tensor) -> Tensor:
    return scores_NK * objectness_N[:, None]


def _geometric_mean_logit(scores_NK: Tensor, objectness_N: Tensor) -> Tensor:
    # In single precision a probability of 1 has no logit.
    logit_N = torch.logit(objectness_N.double(), eps=1e-9).to(scores_NK)
    return _geometric_mean(scores_NK, logit_N.clamp_min(0))


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'geometric_mean': _geometric_mean,
    'product': _product,
    'geometric_mean_logit': _geometric_mean_logit,
}


class WeighedParts:
    """Scores of a large vocabulary, some words at a time, with the objectness in them."""

    def __init__(self, parts: Iterable[tuple[int, Tensor]], objectness_N: Tensor, how: Objectness) -> None:
        self.parts, self.objectness_N, self.how = parts, objectness_N, how

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        for start, scores_Nk in self.parts:
            yield start, WAYS[self.how](scores_Nk, self.objectness_N)


def check_objectness(how: str) -> None:
    """Refuse a name that is none of the ways.

    Raises:
        ConfigError: If it is none.
    """
    if how not in ('ignore', *WAYS):
        raise ConfigError(f'objectness={how!r}; choose one of {", ".join(map(repr, ("ignore", *WAYS)))}.')


def with_objectness(scores: Scores, objectness_N: Tensor, how: Objectness) -> Scores:
    """Scores of the words of regions, with what the proposal head says about the regions.

    * 'ignore': s.
    * 'geometric_mean': sqrt(s * o), as CenterNet2 (arXiv:2103.07461) and Detic (arXiv:2201.02605) score.
    * 'product': s * o.
    * 'geometric_mean_logit': sqrt(s * max(logit(o), 0)), which RegionCLIP's release (arXiv:2112.09106) computes: it
      multiplies with the proposal head's raw output and drops regions where that is negative. May exceed 1.

    Args:
        scores: (N, K), or some words at a time as `vlm_dense.models.heads.bbox.word_parts.WordParts` gives them.
        objectness_N: o, from 0 to 1.
        how: One of the above.
    """
    if how == 'ignore':
        return scores
    if isinstance(scores, Tensor):
        return WAYS[how](scores, objectness_N)
    return WeighedParts(scores, objectness_N, how)
