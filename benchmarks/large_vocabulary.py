"""Large vocabularies, side by side with what public code does.

python benchmarks/large_vocabulary.py

Needs `lvis` (requirements/tests.txt) and Linux, which tells and resets a process's peak memory. All data are generated:

* label map: logits of 847 words on 32 x 43 cells to labels of 512 x 683 pixels, by our decode head against mmseg's
  ``postprocess_result``, which enlarges all maps and takes the argmax. (In mmseg's whole chain a first enlargement, to
  the size of the input, comes before; it is left out here.) Labels must be equal. Memory is the peak of the resident
  set during one call in a process of its own, less what the process held before, with mmseg's kept score maps;
  "floor" is the same for a call that does nothing.
* postprocess: 1,000 boxes x 1,203 words, scores above 1e-4, the best 300: against mmdet's ``multiclass_nms``. Boxes lie
  on eighths of a pixel, as mmdet's shifts between words round all others. Results must be equal to the bit.
* growth: ViLD's two-tower detector of `configs/vild_r50_lvis.py` with random weights, one picture of 480 x 640, boxes
  and masks, words encoded before: seconds with 1,203 words over seconds with 80.
* lvis: box AP of 1,203 categories on 400 pictures, 128,000 detections of which 300 a picture count, against `lvis`
  0.5.3, which needs numpy's old ``np.float`` back. Both from records in memory, ground truth indexed before, for
  objects of all sizes and of each size apart. APs of all categories must agree to 1e-9.

Seconds are medians over rounds in which both sides alternate, after one round that is not counted. The last line is
JSON: ``label_map_memory`` is our extra memory over mmseg's, ``growth_1203_over_80`` as above, and the other ratios are
the peer's seconds over ours.
"""

import argparse
import copy
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

WORDS, CELLS, PIXELS = 847, (32, 43), (512, 683)
REGIONS, LVIS_WORDS, COCO_WORDS, THRESHOLD, WANTED = 1000, 1203, 80, 1e-4, 300
PICTURES, PER_PICTURE, OBJECTS = 400, 320, 12
ROUNDS = {'label_map': 7, 'postprocess': 5, 'growth': 3, 'lvis': 3}
CONFIG = Path(__file__).parents[1] / 'configs' / 'vild_r50_lvis.py'

Job = Callable[[], Any]


def alternate(peer: Job, ours: Job, rounds: int) -> tuple[float, float]:
    """Median seconds of both."""
    seconds: dict[Job, list[float]] = {peer: [], ours: []}
    for round_ in range(rounds + 1):
        for job in (peer, ours) if round_ % 2 else (ours, peer):
            started = time.perf_counter()
            job()
            if round_:
                seconds[job].append(time.perf_counter() - started)
    return statistics.median(seconds[peer]), statistics.median(seconds[ours])


def label_map_jobs() -> tuple[Job, Job]:
    """mmseg's and our labels (H, W) of the same coarse logits."""
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.structures import SegDataSample

    from vlm_dense.models.decode_heads import DenseMapHead
    from vlm_dense.models.decode_heads.row_maps import GridMaps
    from vlm_dense.models.segmentors.picture_maps import PictureMaps, View, Window
    from vlm_dense.text import Vocabulary

    logits_1Khw = torch.randn(1, WORDS, *CELLS, generator=torch.Generator().manual_seed(0))
    vocabulary = Vocabulary.from_words([f'word {number}' for number in range(WORDS)])
    head, segmentor = DenseMapHead(logit_scale=1.0), SimpleNamespace(align_corners=False)

    def peer() -> Tensor:
        sample = SegDataSample(metainfo=dict(ori_shape=PIXELS, img_shape=PIXELS, img_padding_size=(0, 0, 0, 0)))
        (found,) = EncoderDecoder.postprocess_result(segmentor, logits_1Khw, [sample])
        return found.pred_sem_seg.data[0]

    def ours() -> Tensor:
        window = Window(slice(0, PIXELS[0]), slice(0, PIXELS[1]), GridMaps(logits_1Khw, head.resize))
        view = View(PIXELS, (), [window])
        return head.labels(PictureMaps([view], 0, dict(ori_shape=PIXELS), head.resize), vocabulary)

    return peer, ours


def memory_of(name: str) -> float:
    """Peak MB of one call in a new process, less what the process held before."""
    done = subprocess.run([sys.executable, __file__, '--memory', name], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def measure_memory(name: str) -> float:
    """See `memory_of`, in the process itself."""
    peer, ours = label_map_jobs()
    job: Job = {'peer': peer, 'ours': ours, 'floor': lambda: None}[name]
    torch.nn.functional.interpolate(torch.zeros(1, 8, 64, 64), (256, 256), mode='bilinear').max(dim=1)  # threads
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
    before = _status('VmRSS')
    job()
    return _status('VmHWM') - before


def _status(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def compare_label_maps() -> dict[str, float]:
    peer, ours = label_map_jobs()
    assert torch.equal(peer(), ours()), 'labels differ from mmseg'
    megabytes = {name: memory_of(name) for name in ('peer', 'ours', 'floor')}
    peer_s, ours_s = alternate(peer, ours, ROUNDS['label_map'])
    print(
        f'label map    mmseg {peer_s:.2f} s, ours {ours_s:.2f} s, ratio {peer_s / ours_s:.2f}; extra memory mmseg '
        f'{megabytes["peer"]:.0f} MB, ours {megabytes["ours"]:.0f} MB, floor {megabytes["floor"]:.0f} MB',
        flush=True,
    )
    return dict(label_map_memory=megabytes['ours'] / megabytes['peer'], label_map_ratio=peer_s / ours_s)


def compare_postprocessing() -> dict[str, float]:
    from mmdet.models.layers import multiclass_nms
    from mmengine.config import ConfigDict

    from vlm_dense.models.heads.bbox.suppression import best_detections

    generator = torch.Generator().manual_seed(0)
    corner_N2 = torch.rand(REGIONS, 2, generator=generator) * 800
    box_N4 = torch.cat([corner_N2, corner_N2 + 16 + 200 * torch.rand(REGIONS, 2, generator=generator)], dim=1)
    box_N4[REGIONS // 2 :] = box_N4[: REGIONS // 2] + 8 * torch.rand(REGIONS // 2, 4, generator=generator)
    box_N4 = (8 * box_N4).round() / 8
    score_NK1 = (1.5 * torch.randn(REGIONS, LVIS_WORDS + 1, generator=generator)).softmax(dim=1)
    nms = ConfigDict(type='nms', iou_threshold=0.5)

    def peer() -> tuple[Tensor, ...]:
        found_M5, label_M = multiclass_nms(box_N4, score_NK1, THRESHOLD, nms, WANTED)
        return found_M5[:, :4], found_M5[:, 4], label_M

    def ours() -> tuple[Tensor, ...]:
        return best_detections(box_N4, score_NK1[:, :-1], THRESHOLD, nms, WANTED)

    assert all(torch.equal(*pair) for pair in zip(peer(), ours(), strict=True)), 'detections differ from mmdet'
    peer_s, ours_s = alternate(peer, ours, ROUNDS['postprocess'])
    print(f'postprocess  mmdet {peer_s:.2f} s, ours {ours_s:.3f} s, ratio {peer_s / ours_s:.0f}', flush=True)
    return dict(postprocess_ratio=peer_s / ours_s)


class RandomBank:
    """Unit rows that are made before they are asked for."""

    embed_dim = 512

    def __init__(self) -> None:
        rows_KD = torch.randn(LVIS_WORDS, self.embed_dim, generator=torch.Generator().manual_seed(0))
        self.rows_KD = torch.nn.functional.normalize(rows_KD, dim=1)

    def __call__(self, vocabulary: Any) -> Tensor:
        return self.rows_KD[: len(vocabulary)]


def detector_job() -> Callable[[int], Any]:
    """From a number of words to the detections on a generated picture."""
    from mmdet.structures import DetDataSample
    from mmengine.registry import init_default_scope

    from vlm_dense.engine import read_config
    from vlm_dense.registry import MODELS
    from vlm_dense.text import Vocabulary

    model = read_config(str(CONFIG), None).model
    model.branches, model.backbone.init_cfg, model.text_bank = {}, None, RandomBank()
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector: Any = MODELS.build(model).eval()
    image_3HW = torch.randint(0, 256, (3, 480, 640), dtype=torch.uint8)
    shape = dict(img_shape=(480, 640), ori_shape=(480, 640), scale_factor=(1.0, 1.0), img_id=0)
    asked = [f'word {number}' for number in range(LVIS_WORDS)]
    vocabularies = {size: Vocabulary.from_words(asked[:size]) for size in (COCO_WORDS, LVIS_WORDS)}

    def detect(size: int) -> Any:
        sample = DetDataSample(metainfo=dict(shape, vocabulary=vocabularies[size]))
        with torch.inference_mode():
            return detector.test_step(dict(inputs=[image_3HW], data_samples=[sample]))[0].pred_instances

    return detect


def compare_growth() -> dict[str, float]:
    detect = detector_job()
    assert len(detect(LVIS_WORDS)) == WANTED
    large_s, small_s = alternate(lambda: detect(LVIS_WORDS), lambda: detect(COCO_WORDS), ROUNDS['growth'])
    print(
        f'growth       1203 words {large_s:.2f} s, 80 words {small_s:.2f} s, ratio {large_s / small_s:.3f}', flush=True
    )
    return dict(growth_1203_over_80=large_s / small_s)


def federated_scene() -> tuple[dict, list[dict]]:
    """Ground truth of LVIS's kind and detections of it, some right, some of words that are known to be absent."""
    rng = np.random.default_rng(0)
    images: list[dict] = []
    truths: list[dict] = []
    found: list[dict] = []
    for image in range(PICTURES):
        drawn = (rng.permutation(LVIS_WORDS)[: 3 * OBJECTS] + 1).tolist()
        present, absent = drawn[:OBJECTS], drawn[OBJECTS:]
        lists = dict(neg_category_ids=absent, not_exhaustive_category_ids=present[:2])
        images.append(dict(id=image, width=640, height=480, **lists))
        for category in present:
            x, y, w, h = (float(value) for value in rng.integers(8, 200, 4))
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            row = dict(
                id=len(truths) + 1, image_id=image, category_id=category, bbox=[x, y, w, h], area=w * h, iscrowd=0
            )
            truths.append(dict(row, segmentation=[outline]))
        for number, score in enumerate(rng.random(PER_PICTURE).tolist()):
            box = rng.integers(8, 200, 4) if number % 2 else truths[-1 - number % OBJECTS]['bbox'] + rng.normal(0, 6, 4)
            category = drawn[number % len(drawn)] if number % 2 else truths[-1 - number % OBJECTS]['category_id']
            bbox = [*box[:2].tolist(), *np.maximum(box[2:], 1).tolist()]
            found.append(dict(image_id=image, category_id=category, bbox=bbox, score=score))
    categories = [
        dict(id=number + 1, name=f'thing {number}', frequency='rcf'[number % 3]) for number in range(LVIS_WORDS)
    ]
    return dict(images=images, annotations=truths, categories=categories), found


def lvis_jobs(truth: dict, found: list[dict], folder: Path) -> tuple[Job, Job]:
    """AP (10, C) at every threshold and category by `lvis` and by us; both also take small, medium and large apart."""
    np.float = float  # type: ignore[attr-defined]  # gone from numpy; lvis 0.5.3 still asks for it
    from lvis import LVIS, LVISEval, LVISResults

    from vlm_dense.evaluation.average_precision import category_accuracy, load_ground_truth
    from vlm_dense.evaluation.detection_cap import DetectionCap
    from vlm_dense.evaluation.detection_table import DetectionTable

    logging.getLogger('lvis').setLevel(logging.ERROR)
    (folder / 'truth.json').write_text(json.dumps(truth))
    peer_truth, our_truth = LVIS(str(folder / 'truth.json')), load_ground_truth(copy.deepcopy(truth), lvis_style=True)
    images, categories = range(PICTURES), [category['id'] for category in truth['categories']]

    def peer() -> np.ndarray:
        evaluation = LVISEval(
            peer_truth, LVISResults(peer_truth, [dict(one) for one in found], max_dets=WANTED), 'bbox'
        )
        evaluation.evaluate()
        evaluation.accumulate()
        precision_TRC = evaluation.eval['precision'][..., 0]  # of all sizes
        return np.where(precision_TRC > -1, precision_TRC, np.nan).mean(axis=1)

    def ours() -> np.ndarray:
        table = DetectionTable.from_records(found, images)
        cap = DetectionCap('picture', WANTED)
        return category_accuracy(our_truth, table, categories, cap, lvis_style=True).precision_TCA[..., 0]

    return peer, ours


def compare_evaluation() -> dict[str, float]:
    truth, found = federated_scene()
    with tempfile.TemporaryDirectory() as folder:
        peer, ours = lvis_jobs(truth, found, Path(folder))
        peer_TC, ours_TC = peer(), ours()
        np.testing.assert_allclose(ours_TC, peer_TC, rtol=0, atol=1e-9)
        peer_s, ours_s = alternate(peer, ours, ROUNDS['lvis'])
    print(f'lvis         {len(found)} detections, AP {100 * np.nanmean(ours_TC):.2f}: ', end='')
    print(f'lvis {peer_s:.2f} s, ours {ours_s:.2f} s, ratio {peer_s / ours_s:.2f}', flush=True)
    return dict(lvis_ratio=peer_s / ours_s)


def main() -> None:
    result: dict[str, float] = {}
    with torch.inference_mode():
        for compare in (compare_label_maps, compare_postprocessing, compare_growth, compare_evaluation):
            result |= compare()
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--memory', choices=('peer', 'ours', 'floor'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    import vlm_dense.models  # noqa: F401  before mmdet's and mmseg's: brings mmcv's operators

    if args.memory:
        print(measure_memory(args.memory))
    else:
        main()
