"""Image towers: our forward against open_clip's own, side by side.

python benchmarks/towers.py

ViT-B/16 and RN50 with the same random weights on both sides, 224 x 224, batches of 4. Two jobs each, checked to agree
to 1e-4 first:

* pictures: `OpenClipTower.embed_images` against ``encode_image(normalize=True)``,
* maps: the tokens of the last block or the last stage (`pyramid`) against ``forward_intermediates``.

Seconds are medians over rounds in which both sides alternate. The last line is JSON: open_clip's time over ours, the
smaller of the two jobs for each tower.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TOWERS = {'vit_ratio': 'ViT-B-16', 'resnet_ratio': 'RN50'}
BATCH, SIDE, ROUNDS = 4, 224, 15
TOLERANCE = 1e-4

Job = Callable[[Tensor], Tensor]


def jobs(name: str, tower: Any) -> dict[str, tuple[Job, Job]]:
    """By job: open_clip's function and ours."""
    visual = tower.visual
    last = len(visual.transformer.resblocks) - 1 if name.startswith('ViT') else 4

    def peer_map(images_B3HW: Tensor) -> Tensor:
        return visual.forward_intermediates(
            images_B3HW, indices=[last], intermediates_only=True, normalize_intermediates=False
        )['image_intermediates'][0]

    return {
        'pictures': (lambda images: F.normalize(visual(images), dim=-1), tower.embed_images),
        'maps': (peer_map, lambda images: tower.pyramid(images)[-1]),
    }


def alternate(images_B3HW: Tensor, peer: Job, ours: Job) -> tuple[float, float]:
    """Median seconds of both."""
    seconds: dict[Job, list[float]] = {peer: [], ours: []}
    for round_ in range(ROUNDS):
        for job in (peer, ours) if round_ % 2 else (ours, peer):
            started = time.perf_counter()
            job(images_B3HW)
            seconds[job].append(time.perf_counter() - started)
    return statistics.median(seconds[peer]), statistics.median(seconds[ours])


@torch.no_grad()
def main() -> None:
    from vlm_dense.vlms import OpenClipTower

    images_B3HW = torch.randn(BATCH, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    result: dict[str, float] = {}
    for key, name in TOWERS.items():
        tower = OpenClipTower(name, taps=(11,) if name.startswith('ViT') else None).eval()
        ratios = {}
        for job, (peer, ours) in jobs(name, tower).items():
            torch.testing.assert_close(ours(images_B3HW), peer(images_B3HW), atol=TOLERANCE, rtol=TOLERANCE)
            peer_s, ours_s = alternate(images_B3HW, peer, ours)
            ratios[job] = peer_s / ours_s
            print(
                f'{name:10}{job:10}open_clip {peer_s:.3f} s, ours {ours_s:.3f} s, ratio {ratios[job]:.2f}', flush=True
            )
        result |= {key: min(ratios.values()), **{f'{key}_{job}': ratio for job, ratio in ratios.items()}}
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == '__main__':
    main()
