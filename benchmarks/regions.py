"""Region crops and region banks, side by side with what public code does.

python benchmarks/regions.py

Pictures: scikit-image's photographs, brought to 480 x 640. Boxes: 100 a picture, sides of 24 to 400 pixels, at 1x and
1.5x. The crops' tower: open_clip's RN50 with random weights.

* crops: ``crop_regions`` and ``normalize`` on a batch of two pictures, against a loop over boxes that crops, resizes
  (bicubic, CLIP's 224 pixels), converts and normalises PIL pictures, as the released code of the detection papers does.
  Towers are left out. The pixels of both are compared (largest gap, of 255), and a tower's embeddings of them (smallest
  cosine).
* bank: reading the embeddings of 20 boxes of a picture from a `RegionBank` just opened, checksum included, against
  computing them again with our own crops and tower.

Seconds are medians over rounds in which both sides alternate. The last line is JSON: peer time over ours.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

HEIGHT, WIDTH, SIZE = 480, 640, 224
BOXES, SCALES = 100, (1.0, 1.5)
BANK_BOXES = 20
ROUNDS = 9
TOWER = 'RN50'


def photographs() -> list[Image.Image]:
    from skimage import data

    return [Image.fromarray(make()).resize((WIDTH, HEIGHT)) for make in (data.astronaut, data.chelsea)]


def random_boxes(seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    sides = np.exp(random.uniform(np.log(24), np.log(400), (BOXES, 2)))
    centers = random.uniform((0, 0), (WIDTH, HEIGHT), (BOXES, 2))
    boxes_N4 = np.concatenate([centers - sides / 2, centers + sides / 2], 1).clip(0, [WIDTH, HEIGHT] * 2)
    wide = (boxes_N4[:, 2:] - boxes_N4[:, :2]).min(1) >= 8
    return torch.from_numpy(boxes_N4[wide]).float()


def loop_over_crops(pictures: list[Image.Image], boxes: list[Tensor], mean: Any, std: Any) -> Tensor:
    """The peer: one PIL crop after the other."""
    from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

    preprocess = Compose(
        [
            Resize((SIZE, SIZE), InterpolationMode.BICUBIC),
            ToTensor(),
            Normalize(np.array(mean) / 255, np.array(std) / 255),
        ]
    )
    crops = []
    for scale in SCALES:
        for picture, boxes_N4 in zip(pictures, boxes, strict=True):
            for left, top, right, bottom in boxes_N4.tolist():
                grow_x, grow_y = (right - left) * (scale - 1) / 2, (bottom - top) * (scale - 1) / 2
                corners = (
                    *(max(int(np.floor(low + 0.001)), 0) for low in (left - grow_x, top - grow_y)),
                    min(int(np.ceil(right + grow_x - 0.001)), WIDTH),
                    min(int(np.ceil(bottom + grow_y - 0.001)), HEIGHT),
                )
                crops.append(preprocess(picture.crop(corners)))
    return torch.stack(crops)


def batched(pictures_B3HW: Tensor, boxes: list[Tensor], mean: Any, std: Any) -> Tensor:
    from vlm_dense.vlms import crop_regions
    from vlm_dense.vlms.tower import normalize

    return normalize(crop_regions(pictures_B3HW, boxes, SCALES, SIZE).flatten(0, 1), mean, std)


def alternate(*sides: Callable[[], object]) -> list[float]:
    """Median seconds of each side; rounds alternate."""
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(ROUNDS):
        for side, spent in zip(sides, seconds, strict=True):
            started = time.perf_counter()
            side()
            spent.append(time.perf_counter() - started)
    return [statistics.median(spent) for spent in seconds]


def compare_crops(tower: Any, pictures: list[Image.Image], boxes: list[Tensor]) -> dict[str, float]:
    pictures_B3HW = torch.from_numpy(np.stack([np.array(picture) for picture in pictures])).permute(0, 3, 1, 2)
    peer = loop_over_crops(pictures, boxes, tower.mean, tower.std)
    ours = batched(pictures_B3HW, boxes, tower.mean, tower.std)
    std_311 = torch.tensor(tower.std).view(3, 1, 1)
    gap = float(((peer - ours) * std_311).abs().max())
    rows = torch.linspace(0, len(ours) - 1, 60).long()
    cosine = float((tower.embed_images(peer[rows]) * tower.embed_images(ours[rows])).sum(1).min())
    peer_s, ours_s = alternate(
        lambda: loop_over_crops(pictures, boxes, tower.mean, tower.std),
        lambda: batched(pictures_B3HW, boxes, tower.mean, tower.std),
    )
    print(f'crops      {len(ours)} crops: loop {peer_s:.3f} s, batched {ours_s:.3f} s, ratio {peer_s / ours_s:.1f}')
    print(f'           largest gap {gap:.2f} of 255, smallest cosine {cosine:.5f}', flush=True)
    return dict(crops_ratio=peer_s / ours_s, max_gap_255=gap, min_cosine=cosine)


def compare_bank(teacher_config: dict, picture: Image.Image, boxes_N4: Tensor, folder: Path) -> dict[str, float]:
    from vlm_dense.models.branches import CropTeacher
    from vlm_dense.vlms import RegionBank

    path = str(folder / 'picture.png')
    picture.save(path)
    pictures_B3HW = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    teacher = CropTeacher(**teacher_config, bank=str(folder / 'bank'), missing='compute')
    assert teacher.bank is not None
    name = teacher.bank.teacher
    region_ND = teacher.compute(pictures_B3HW, [boxes_N4], [(HEIGHT, WIDTH)])
    teacher.bank.add([(path, boxes_N4, region_ND)])

    def read() -> Tensor:
        return RegionBank(folder / 'bank', name).lookup(path, boxes_N4)

    assert torch.equal(read(), region_ND)
    recompute_s, read_s = alternate(lambda: teacher.compute(pictures_B3HW, [boxes_N4], [(HEIGHT, WIDTH)]), read)
    ratio = recompute_s / read_s
    print(f'bank       {len(boxes_N4)} boxes: recompute {recompute_s:.2f} s, read {read_s:.4f} s, ratio {ratio:.0f}')
    return dict(bank_ratio=ratio)


def main() -> None:
    from vlm_dense.vlms import OpenClipTower

    config = dict(type='vlm_dense.OpenClipTower', name=TOWER)
    tower = OpenClipTower(TOWER).eval()
    pictures = photographs()
    boxes = [random_boxes(seed) for seed in range(len(pictures))]
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        result = compare_crops(tower, pictures, boxes)
        result |= compare_bank(dict(tower=config, scales=SCALES), pictures[0], boxes[0][:BANK_BOXES], Path(folder))
    print(json.dumps({name: round(value, 5) for name, value in result.items()}))


if __name__ == '__main__':
    main()
