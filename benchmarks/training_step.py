"""Seconds and memory of whole training steps of a detector that grounds words, on one device.

python benchmarks/training_step.py configs/glip_swin_l.py --bert FOLDER --batch 1 2 4 --amp bfloat16
python benchmarks/training_step.py configs/glip_swin_l.py --bert FOLDER --batch 4 --amp bfloat16 \\
    --cfg-options model.backbone.with_cp=True

FOLDER holds the ``config.json`` and the tokenizer of BERT-base. Weights and pictures are random; every picture has
eight boxes and COCO's 80 names as its words. A step is everything but loading: forward, backward, clipping, AdamW.
Seconds are medians of the steps after the first three; memory is the peak of what torch allocated, on GPUs. The last
line is JSON.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from mmengine.config import DictAction  # noqa: E402
from torch import Tensor  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet: it serves mmcv's ops

BOXES, DIVISOR, UNCOUNTED = 8, 32, 3
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--bert', required=True, help='folder of the language model')
    parser.add_argument('--batch', type=int, nargs='+', default=[1], help='pictures in a step')
    parser.add_argument('--size', type=int, nargs=2, default=[800, 1333], help='height and width of pictures')
    parser.add_argument('--amp', choices=('bfloat16', 'float16'), help='autocast; float32 where not given')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--steps', type=int, default=8)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    for batch in arguments.batch:
        seconds, peak = measure(arguments, batch)
        print(
            f'{batch} pictures: {seconds:.3f} s a step, {seconds / batch:.3f} s a picture, {peak:.1f} GiB', flush=True
        )
        figures.update({f'seconds_{batch}': round(seconds, 4), f'gib_{batch}': round(peak, 2)})
    print(json.dumps(figures))


def measure(arguments: argparse.Namespace, batch: int) -> tuple[float, float]:
    """Median seconds of a step, and the peak of allocated memory in GiB (0 on CPUs)."""
    torch.manual_seed(0)
    on_gpu = arguments.device != 'cpu'
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = build(arguments).to(arguments.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    sides = [-(-side // DIVISOR) * DIVISOR for side in arguments.size]
    images_B3HW = torch.randn(batch, 3, *sides, device=arguments.device)
    dtype = getattr(torch, arguments.amp or 'float32')
    seconds = []
    for _ in range(UNCOUNTED + arguments.steps):
        samples = [sample(tuple(arguments.size), tuple(sides), arguments.device) for _ in range(batch)]
        synchronize(on_gpu)
        started = time.perf_counter()
        step(model, optimizer, images_B3HW, samples, dtype)
        synchronize(on_gpu)
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / GIB if on_gpu else 0.0
    return statistics.median(seconds[UNCOUNTED:]), peak


def build(arguments: argparse.Namespace) -> Any:
    from mmengine.registry import init_default_scope

    from vlm_dense.engine import read_config
    from vlm_dense.registry import MODELS

    cfg = read_config(arguments.config, arguments.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg.model.backbone.init_cfg = None
    cfg.model.language_model.update(model=arguments.bert, pretrained=False)
    return MODELS.build(cfg.model)


def sample(size: tuple[int, int], padded: tuple[int, int], device: str) -> Any:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    from vlm_dense.text import Vocabulary

    height, width = size
    corner_G2 = torch.rand(BOXES, 2) * torch.tensor([0.7 * width, 0.7 * height])
    side_G2 = 8 + torch.rand(BOXES, 2) * torch.tensor([0.28 * width, 0.28 * height])
    vocabulary = Vocabulary.from_dataset('coco')
    truth = InstanceData(
        bboxes=torch.cat([corner_G2, corner_G2 + side_G2], dim=1).to(device),
        labels=torch.randint(len(vocabulary), (BOXES,)).to(device),
    )
    shapes = dict(img_shape=size, ori_shape=size, pad_shape=padded, batch_input_shape=padded)
    return DetDataSample(metainfo=dict(shapes, vocabulary=vocabulary), gt_instances=truth)


def step(model: Any, optimizer: Any, images_B3HW: Tensor, samples: list, dtype: torch.dtype) -> None:
    with torch.autocast(images_B3HW.device.type, dtype=dtype, enabled=dtype != torch.float32):
        losses = model.loss(images_B3HW, samples)
    total, _ = model.parse_losses(losses)
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def synchronize(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()


if __name__ == '__main__':
    main()
