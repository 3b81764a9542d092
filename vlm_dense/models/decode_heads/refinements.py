"""What is done to the scores of cells, without training, before pixels are labelled.

Shapes: B pictures, S rows of text, L = h w cells, C channels of the keys; K words of the request, H W pixels.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

KeysOver = Literal['channels', 'cells']
Weights = Literal['cosine', 'mean']
DROPPED = -1e4  # Finite, because resizing multiplies logits by 0.


def drop_absent(logits_BShw: Tensor, threshold: float) -> Tensor:
    """Drop a row from a picture in which no cell is sure of it (MaskCLIP's prompt denoising, arXiv:2112.01071, 3.3).

    A row whose softmax is below the threshold in every cell gets `DROPPED` there. Where that would leave a picture
    without any row all are kept; the public code, which writes -100, then labels every pixel with the first word.

    Args:
        logits_BShw: Cosines times the logit scale.
        threshold: Between 0 and 1; 0.5 in the paper.
    """
    sure_BS11 = logits_BShw.softmax(dim=1).amax(dim=(2, 3), keepdim=True)
    absent_BS11 = (sure_BS11 < threshold) & (sure_BS11 >= threshold).any(dim=1, keepdim=True)
    return logits_BShw.masked_fill(absent_BS11, DROPPED)


def smooth_by_keys(
    prob_BShw: Tensor,
    keys_BChw: Tensor,
    threshold: float = 1.0,
    keys_over: KeysOver = 'channels',
    weights: Weights = 'cosine',
) -> Tensor:
    """Let cells with like keys share their scores (MaskCLIP's key smoothing, arXiv:2112.01071, section 3.3).

    Cell i gets sum_j w_ij p_j with w_ij the cosine of the keys, unless one of its probabilities reaches the threshold.
    The result is no probability: cosines may be negative and do not add up to 1.

    Args:
        prob_BShw: Softmax over the rows.
        keys_BChw: At the same cells.
        threshold: Cells below it are smoothed; 1.0, the authors' value, smooths nearly all.
        keys_over: Along what the keys are brought to unit length. 'channels' is the cosine of the paper; 'cells' is
            what the authors' code computes, which scales every channel by its length over the cells.
        weights: 'cosine', the published sum, or 'mean': negative weights count as 0 and those of a cell add up to 1,
            so that probabilities stay probabilities and can meet a threshold.
    """
    prob_BSL = prob_BShw.flatten(2)
    keys_BLC = functional.normalize(keys_BChw.flatten(2).transpose(1, 2), dim=2 if keys_over == 'channels' else 1)
    weight_BLL = keys_BLC @ keys_BLC.transpose(1, 2)
    if weights == 'mean':
        weight_BLL = functional.normalize(weight_BLL.clamp(min=0), p=1, dim=2)
    unsure_B1L = prob_BSL.amax(dim=1, keepdim=True) < threshold
    smooth_BSL = torch.where(unsure_B1L, prob_BSL @ weight_BLL.transpose(1, 2), prob_BSL)
    return smooth_BSL.unflatten(2, prob_BShw.shape[2:])


def suppress_small(words_KHW: Tensor, background_1HW: Tensor, share: float) -> Tensor:
    """Silence words that win few pixels of a picture (SCLIP's area threshold, arXiv:2312.01597).

    Args:
        words_KHW: Scores, at least 0.
        background_1HW: Score of the background.
        share: Words that win at most this share of the pixels that any word wins get score 0 everywhere.
    """
    winner_HW = torch.cat([words_KHW, background_1HW]).argmax(dim=0)
    area_K = torch.bincount(winner_HW.flatten(), minlength=len(words_KHW) + 1)[:-1]
    return words_KHW * (area_K > share * area_K.sum())[:, None, None]
