"""Draw regions of each word from the label maps that a config trains with, to learn prompts on.

python tools/word_regions.py configs/zsseg_r101c_cocostuff.py --out data/coco_stuff164k/word_regions_train2017.jsonl
python tools/word_regions.py configs/zsseg_r101c_cocostuff.py --part val \
    --out data/coco_stuff164k/word_regions_val2017.jsonl

A region is everything that a map gives to a word. The lines are those that vlm_dense.MaskNounDataset reads.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import vlm_dense  # noqa: E402, F401  before mmseg: it serves mmcv's ops
from vlm_dense.errors import ConfigError, DataError, VlmDenseError  # noqa: E402
from vlm_dense.folders import whole_file  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a segmentor')
    parser.add_argument('--part', choices=('train', 'val', 'test'), default='train', help='which of its data')
    parser.add_argument('--each', type=int, default=32, help='regions of a word; all where there are fewer')
    parser.add_argument('--seed', type=int, default=0, help='of the choice')
    parser.add_argument('--out', type=Path, required=True, help='jsonl file to write')
    args = parser.parse_args(arguments)
    if args.each < 1:
        parser.error('--each must be at least 1')
    from mmengine.registry import init_default_scope

    from vlm_dense.datasets import VocabularySegDataset
    from vlm_dense.engine import check_config, read_config
    from vlm_dense.registry import DATASETS

    cfg = read_config(args.config)
    check_config(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    loader = cfg.get(f'{args.part}_dataloader')
    if loader is None:
        raise ConfigError(f'{args.config} has no {args.part}_dataloader; give the config of a segmentor that trains.')
    dataset = DATASETS.build(loader.dataset)
    if not isinstance(dataset, VocabularySegDataset):
        raise ConfigError(
            f'{args.config} reads a {type(dataset).__name__}; give a config with label maps (VocabularySegDataset).'
        )
    print(f'{args.out}: {write_regions(dataset, args.out, args.each, args.seed)} regions')


def write_regions(dataset: Any, path: Path, each: int, seed: int) -> int:
    """Write the chosen regions, picture by picture; returns how many.

    Args:
        dataset: A `VocabularySegDataset`.
        path: File to write.
        each: Regions of a word at most.
        seed: Of the choice.

    Raises:
        DataError: If no pixel of any map has a word.
    """
    chosen = draw(pictures_of_words(dataset), each, np.random.default_rng(seed))
    if not chosen:
        raise DataError(f'no label map of {dataset.data_prefix["seg_map_path"]} holds a word; check the words.')
    lines = [json.dumps(line) for index in sorted(chosen) for line in regions(dataset, index, chosen[index])]
    with whole_file(path) as file:
        file.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return len(lines)


def pictures_of_words(dataset: Any) -> list[list[int]]:
    """For each word the pictures that show it."""
    found: list[list[int]] = [[] for _ in dataset.vocabulary.words]
    for index in range(len(dataset)):
        for label in np.unique(labels_of(dataset.get_data_info(index))):
            if label < len(found):
                found[label].append(index)
    return found


def draw(pictures: Sequence[Sequence[int]], each: int, random: np.random.Generator) -> dict[int, list[int]]:
    """For each chosen picture the words whose region is taken."""
    chosen: dict[int, list[int]] = {}
    for label, indices in enumerate(pictures):
        for index in random.choice(indices, each, replace=False) if len(indices) > each else indices:
            chosen.setdefault(int(index), []).append(label)
    return chosen


def regions(dataset: Any, index: int, labels: Sequence[int]) -> list[dict[str, Any]]:
    """Lines of one picture."""
    from pycocotools import mask as coco_mask

    info = dataset.get_data_info(index)
    label_HW = labels_of(info)
    height, width = label_HW.shape
    name = Path(info['img_path']).relative_to(dataset.data_prefix['img_path']).as_posix()
    lines = []
    for label in labels:
        rle = coco_mask.encode(np.asfortranarray((label_HW == label).astype(np.uint8)))
        mask = dict(size=[height, width], counts=rle['counts'].decode())
        line = dict(filename=name, height=height, width=width, noun=dataset.vocabulary.words[label], segmentation=mask)
        lines.append(line)
    return lines


def labels_of(info: Mapping[str, Any]) -> np.ndarray:
    """Labels (H, W) of a picture."""
    from vlm_dense.datasets.load_label_map import LoadLabelMap

    return LoadLabelMap().transform(dict(info))['gt_seg_map']


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
