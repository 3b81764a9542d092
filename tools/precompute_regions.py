"""Write the teacher bank of a config: embeddings of the annotated boxes of its training pictures, and of others.

python tools/precompute_regions.py CONFIG [--proposals FILE]
torchrun --nproc_per_node 8 tools/precompute_regions.py CONFIG

CONFIG is a training config whose branches' teachers name a bank, see projects/vild/README.md. A run that was killed
goes on where it stopped, with any number of processes. The processes share nothing but the folder.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmengine.config import DictAction  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet: it serves mmcv's ops
from vlm_dense.errors import ConfigError, DataError, VlmDenseError  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='training config')
    parser.add_argument(
        '--proposals',
        type=Path,
        metavar='FILE',
        help='also these boxes: json or npz, file name of a picture to a list of [x1, y1, x2, y2] in its pixels',
    )
    parser.add_argument('--no-truth', action='store_true', help='leave the annotated boxes out')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings of the config'
    )
    parser.add_argument('--save-every', type=int, default=200, help='pictures per file, and lost at most by a kill')
    args = parser.parse_args(arguments)
    if args.no_truth and args.proposals is None:
        parser.error('--no-truth needs --proposals')
    if args.save_every < 1:
        parser.error('--save-every must be at least 1')
    precompute(args)


def precompute(args: argparse.Namespace) -> None:
    """Build data set and teachers, and fill every bank."""
    from mmengine.registry import init_default_scope

    from vlm_dense.checkpoints import install
    from vlm_dense.engine import check_config, read_config
    from vlm_dense.engine.processes import place_among_processes
    from vlm_dense.models.proposals import read_proposals
    from vlm_dense.registry import DATASETS

    cfg = read_config(args.config, args.cfg_options)
    check_config(cfg)
    install()
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    configs = teacher_configs(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    proposals = {} if args.proposals is None else read_proposals(args.proposals)
    boxes = picture_boxes(dataset, proposals, not args.no_truth)
    rank, world_size, device = place_among_processes()
    for config in configs:
        fill(config, dataset, boxes, rank, world_size, device, args.save_every)


def teacher_configs(cfg: Any) -> list[dict]:
    """Teachers of the config's branches that have a bank.

    Raises:
        ConfigError: If there is none.
    """
    branches = (cfg.model.get('branches') or {}).values()
    teachers = [branch['teacher'] for branch in branches if (branch.get('teacher') or {}).get('bank')]
    if not teachers:
        raise ConfigError(
            f"no branch of {cfg.filename} has a bank. Write teacher=dict(..., bank='FOLDER') in the branch, or add "
            '--cfg-options model.branches.NAME.teacher.bank=FOLDER.'
        )
    return teachers


def picture_boxes(dataset: Any, proposals: dict[str, Any], with_truth: bool) -> dict[str, Any]:
    """By path of a picture: boxes (M, 4), xyxy in its pixels, annotated ones first; in the order of the data set.

    Raises:
        DataError: If proposals are not boxes, or name pictures that the data set lacks.
    """
    import torch

    from vlm_dense.models.proposals.stored import name_in

    found: dict[str, Any] = {}
    unused = set(proposals)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = info['img_path']
        if path in found:
            continue
        truth = [instance['bbox'] for instance in info['instances']] if with_truth else []
        name = name_in(proposals, path)
        unused.discard(name or '')
        try:
            others_M4 = torch.as_tensor(proposals[name] if name else [], dtype=torch.float32).reshape(-1, 4)
        except (ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"the proposals of '{name}' are not rows of four numbers. Correct the file.") from error
        found[path] = torch.cat([torch.tensor(truth, dtype=torch.float32).reshape(-1, 4), others_M4])
    if unused:
        raise DataError(
            f"--proposals has boxes for {len(unused)} pictures that the training set lacks, such as '{min(unused)}'. "
            'Name pictures by the end of their path.'
        )
    return found


def fill(
    config: dict, dataset: Any, boxes: dict[str, Any], rank: int, world_size: int, device: str, save_every: int
) -> None:
    """Compute the share of one process of a teacher's bank, and say what was done."""
    from vlm_dense.models.branches import CropTeacher

    teacher = CropTeacher(**{**config, 'missing': 'compute'}).to(device)
    bank, own = teacher.bank, list(boxes)[rank::world_size]
    bank.remove_damaged()
    pending: list = []
    pictures = rows = 0
    for path, missing_M4, picture_13HW in missing_regions(bank, dataset, boxes, own):
        shape = tuple(picture_13HW.shape[2:])
        region_MD = teacher.compute(picture_13HW.to(device), [missing_M4.to(device)], [shape]).cpu()
        pending.append((path, missing_M4, region_MD))
        pictures, rows = pictures + 1, rows + len(missing_M4)
        if len(pending) == save_every:
            bank.add(pending)
            pending = []
    if pending:
        bank.add(pending)
    print(
        f'process {rank + 1} of {world_size}: {rows} regions of {pictures} pictures computed, {len(own) - pictures} '
        f'pictures were done or have no boxes: {bank.folder}',
        flush=True,
    )


def missing_regions(
    bank: Any, dataset: Any, boxes: dict[str, Any], paths: Sequence[str]
) -> Iterator[tuple[str, Any, Any]]:
    """Path, boxes (M, 4) and pixels (1, 3, H, W), RGB in 0..255, of pictures with boxes that the bank lacks.

    Boxes are clipped to the picture, and those without an area left out, as training does.
    """
    import torch
    from torchvision.ops import clip_boxes_to_image

    from vlm_dense.datasets.picture_errors import check_picture

    read = reader(dataset)
    for path in paths:
        # Sides within the tolerance of the bank are the same box: a picture may be skipped without decoding it.
        if bank.has(path, boxes[path]).all():
            continue
        try:
            picture_HW3 = read({'img_path': path})['img'][..., ::-1].copy()
        except Exception:
            check_picture(path, 'restore it from where the data came from.')
            raise
        clipped_M4 = clip_boxes_to_image(boxes[path], picture_HW3.shape[:2])
        clipped_M4 = clipped_M4[(clipped_M4[:, 2:] > clipped_M4[:, :2]).all(dim=1)]
        missing_M4 = clipped_M4[~bank.has(path, clipped_M4)]
        if len(missing_M4):
            yield path, missing_M4, torch.from_numpy(picture_HW3).float().permute(2, 0, 1)[None]


def reader(dataset: Any) -> Any:
    """The step of the training pipeline that reads pictures, so that pixels are those of training.

    Raises:
        ConfigError: If the pipeline does not begin with it.
    """
    from mmcv.transforms import LoadImageFromFile

    while not hasattr(dataset, 'pipeline'):
        dataset = dataset.dataset if hasattr(dataset, 'dataset') else dataset.datasets[0]
    first = dataset.pipeline.transforms[0]
    if not isinstance(first, LoadImageFromFile):
        raise ConfigError(
            f'the training pipeline begins with {type(first).__name__}; let it begin with LoadImageFromFile.'
        )
    return first


if __name__ == '__main__':
    try:
        main()
    except (VlmDenseError, FileNotFoundError) as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
