"""Labels from masks and their names, our decoding against mmseg's: a part of `benchmarks/segmentors.py`."""

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from process_memory import extra_megabytes, start_peak
from segmentor_run import HEIGHT, WIDTH, WORDS, discs
from torch import Tensor

PEER_ROUNDS, TIE = 3, 1e-6


def decoding_jobs(words: int, device: str) -> tuple[Callable[[], Tensor], Callable[[], tuple[Tensor, Tensor]]]:
    """Our labels (H, W), and mmseg's with its scores (K, H, W), of the same masks and logits."""
    from mmseg.models.decode_heads.san_head import SideAdapterCLIPHead
    from mmseg.models.segmentors.base import BaseSegmentor
    from mmseg.structures import SegDataSample

    from vlm_dense.models.classifiers import ScoreFusion
    from vlm_dense.models.heads.mask.decoding import Frame, MaskWindow, SemanticMaps, SemanticRules, Strips

    size, padded = (640, 853), (640, 864)
    mask_1Nhw = discs((80, 108), 100)[None].to(device)
    logit_1NK1 = 4 * torch.randn(1, 100, words + 1, generator=torch.Generator().manual_seed(0)).to(device)
    fusion, is_base_K = ScoreFusion(base_power=0, novel_power=0), torch.zeros(words, dtype=torch.bool, device=device)

    def ours() -> Tensor:
        (score_NK,) = fusion(logit_1NK1, None, None, is_base_K)
        window = MaskWindow(slice(0, size[0]), slice(0, size[1]), mask_1Nhw[0], padded)
        strips = Strips([window], Frame(size, (HEIGHT, WIDTH)), 'input')
        return SemanticMaps(strips, score_NK, is_base_K, SemanticRules()).labels()

    def mmseg() -> tuple[Tensor, Tensor]:
        padding = (0, padded[1] - size[1], 0, padded[0] - size[0])
        meta = dict(img_shape=size, pad_shape=padded, ori_shape=(HEIGHT, WIDTH), img_padding_size=padding)
        maps_1KHW = SideAdapterCLIPHead.predict_by_feat(SimpleNamespace(), (mask_1Nhw, logit_1NK1), [meta])
        sample = SegDataSample(metainfo=meta)
        (found,) = BaseSegmentor.postprocess_result(SimpleNamespace(align_corners=False), maps_1KHW, [sample])
        return found.pred_sem_seg.data[0], found.seg_logits.data

    return ours, mmseg


def seconds_of(device: str) -> float:
    """The processor's so far, or those of the clock when a GPU has ended what it was asked to do."""
    if device == 'cpu':
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def compare_decoding(device: str) -> dict[str, Any]:
    """By number of words: seconds and extra MB of both, and pixels that are too near a tie to compare."""
    found = {}
    with torch.inference_mode():
        for words in WORDS:
            ours, mmseg = decoding_jobs(words, device)
            label_HW, (peer_HW, score_KHW) = ours(), mmseg()
            best_2HW = score_KHW.topk(2, dim=0).values
            tied_HW = best_2HW[0] - best_2HW[1] <= TIE
            assert torch.equal(label_HW[~tied_HW], peer_HW[~tied_HW]), 'labels differ from mmseg'
            ties, unequal = int(tied_HW.sum()), int((label_HW != peer_HW).sum())
            del label_HW, peer_HW, score_KHW, best_2HW, tied_HW
            seconds: dict[str, list[float]] = {'ours': [], 'mmseg': []}
            extra: dict[str, list[float]] = {'ours': [], 'mmseg': []}
            for round_ in range(PEER_ROUNDS):
                for name, job in (('ours', ours), ('mmseg', mmseg))[:: 1 if round_ % 2 else -1]:
                    before, started = start_peak(device), seconds_of(device)
                    job()
                    seconds[name].append(seconds_of(device) - started)
                    extra[name].append(extra_megabytes(before, device)[1])
            found[words] = dict(
                seconds={name: statistics.median(some) for name, some in seconds.items()},
                extra={name: max(some) for name, some in extra.items()},
                ties=ties,
                unequal=unequal,
            )
    return found
