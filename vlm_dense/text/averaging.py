"""From several encodings of a word to one: over templates, over synonyms, and over the scores of synonyms.

Methods differ in whether they normalise before or after the mean, and the difference is no detail: raw encodings weigh
long vectors more, and a mean that is not scaled back has a length below 1 that acts as a temperature of its own.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import VocabularyError


def normalise_mean_normalise(encoded: Tensor) -> Tensor:
    """Unit vectors, their mean, scaled to unit length.

    CLIP's zero-shot recipe (arXiv:2103.00020, section 3.1.4; notebooks of openai/CLIP), and that of open_clip, ViLD
    (arXiv:2104.13921), MaskCLIP (arXiv:2112.01071), RegionCLIP (arXiv:2112.09106) and ZegFormer (arXiv:2112.07910).

    Args:
        encoded: (..., T, D) encodings as the encoder gives them, T >= 1 templates.

    Returns:
        (..., D) unit vectors.
    """
    return F.normalize(normalise_mean(encoded), dim=-1)


def mean_normalise(encoded: Tensor) -> Tensor:
    """The mean of raw encodings, scaled to unit length: a longer encoding weighs more.

    Detic's script (arXiv:2201.02605, tools/dump_clip_features.py) averages the raw encodings of synonyms and the
    detector normalises what it loads.

    Args:
        encoded: (..., T, D) encodings as the encoder gives them, T >= 1.

    Returns:
        (..., D) unit vectors.
    """
    return F.normalize(encoded.mean(dim=-2), dim=-1)


def normalise_mean(encoded: Tensor) -> Tensor:
    """The mean of unit vectors, left as it is: the more the templates disagree, the shorter.

    Files of text embeddings in the layout of DetPro (arXiv:2203.14940) and ovdet hold such vectors; their detectors
    normalise after loading. A method that does not normalise them sees smaller logits for ambiguous words.

    Args:
        encoded: (..., T, D) encodings as the encoder gives them, T >= 1.

    Returns:
        (..., D) vectors of length 0 to 1.
    """
    return F.normalize(encoded, dim=-1).mean(dim=-2)


def mean(encoded: Tensor) -> Tensor:
    """The mean of raw encodings, left as it is: of one template, the encoding itself.

    CLIPSeg (arXiv:2112.10003) conditions its decoder on encodings that are not normalised.

    Args:
        encoded: (..., T, D) encodings as the encoder gives them, T >= 1.

    Returns:
        (..., D) vectors of any length.
    """
    return encoded.mean(dim=-2)


AVERAGINGS: dict[str, Callable[[Tensor], Tensor]] = {
    'normalise_mean_normalise': normalise_mean_normalise,
    'mean_normalise': mean_normalise,
    'normalise_mean': normalise_mean,
    'mean': mean,
}


def mean_over_synonyms(text_SD: Tensor, word_of_S: Tensor, num_words: int, *, renormalise: bool) -> Tensor:
    """One embedding per word: the mean of its names.

    ZegFormer (arXiv:2112.07910) averages the unit vectors of all names in all templates at once: that is this
    function on rows of `normalise_mean`, with ``renormalise=True``. Rows of `normalise_mean_normalise` give every name
    the same weight, however much its templates disagree.

    Args:
        text_SD: (S, D) one row per name.
        word_of_S: (S,) integers, the word that each name belongs to.
        num_words: K.
        renormalise: Scale the means to unit length.

    Returns:
        (K, D).

    Raises:
        VocabularyError: If a word has no name or a name belongs to none of the K words.
    """
    count_K = _names_per_word(word_of_S, len(text_SD), num_words).to(text_SD)
    sum_KD = text_SD.new_zeros(num_words, text_SD.shape[1]).index_add(0, word_of_S.to(text_SD.device), text_SD)
    mean_KD = sum_KD / count_K[:, None]
    return F.normalize(mean_KD, dim=-1) if renormalise else mean_KD


def max_over_synonyms(scores_NS: Tensor, word_of_S: Tensor, num_words: int, dim: int = -1) -> Tensor:
    """The score of a word: the highest among its names.

    After OpenSeg (arXiv:2112.12143); ODISE (arXiv:2303.04803) and FC-CLIP (arXiv:2308.02487) do it before the softmax.
    Gradients reach the highest name only, in equal parts where several are highest.

    Args:
        scores_NS: (N, S) scores, or any shape with the S names along ``dim``, such as maps (B, S, h, w) with ``dim=1``.
        word_of_S: (S,) integers, the word that each name belongs to; in any order.
        num_words: K.
        dim: The dimension of the names.

    Returns:
        (N, K), or the shape of the scores with K in place of S.

    Raises:
        VocabularyError: If a word has no name or a name belongs to none of the K words.
    """
    _names_per_word(word_of_S, scores_NS.shape[dim], num_words)
    moved_SN = scores_NS.movedim(dim, 0)
    index = word_of_S.to(scores_NS.device).view(-1, *[1] * (moved_SN.ndim - 1)).expand_as(moved_SN)
    start = moved_SN.new_zeros(num_words, *moved_SN.shape[1:])
    return start.scatter_reduce(0, index, moved_SN, 'amax', include_self=False).movedim(0, dim)


def _names_per_word(word_of_S: Tensor, names: int, num_words: int) -> Tensor:
    if word_of_S.shape != (names,) or (names and not 0 <= int(word_of_S.min()) <= int(word_of_S.max()) < num_words):
        raise VocabularyError(
            f'the map from names to words has shape {tuple(word_of_S.shape)} and must hold, for each of the {names} '
            f'names, a word from 0 to {num_words - 1}. Make it from the vocabulary that the scores belong to.'
        )
    count_K = torch.bincount(word_of_S, minlength=num_words)
    if bool((count_K == 0).any()):
        missing = int((count_K == 0).nonzero()[0])
        raise VocabularyError(f'word {missing} of {num_words} (from 0) has no name. Give every word at least its own.')
    return count_K
