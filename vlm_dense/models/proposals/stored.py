"""Proposals that were computed before."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.models.branches.picture_frame import from_disk
from vlm_dense.registry import MODELS


@MODELS.register_module()
class StoredProposals(nn.Module):
    """Boxes from a file.

    Args:
        file: As `read_proposals` takes it; a fifth number in a row is the score, without it that is 1.
        count: At most so many boxes of a picture, the best first.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it cannot be read.
    """

    def __init__(self, file: str, count: int = 1000) -> None:
        super().__init__()
        self.file, self.count = file, count
        self.boxes = read_proposals(Path(file))

    def forward(self, pictures_B3HW: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """As `ProposalSource`.

        Raises:
            DataError: If the file lacks a picture or holds something else than boxes of it.
            ConfigError: If the pipeline did more than resizing once and flipping.
        """
        return [self._boxes(pictures_B3HW, sample) for sample in data_samples]

    def _boxes(self, pictures_B3HW: Tensor, sample: DetDataSample) -> InstanceData:
        path = sample.metainfo['img_path']
        name = name_in(self.boxes, path)
        if name is None:
            raise DataError(
                f"the file of proposals '{self.file}' has none for '{path}'. Make it again with this picture."
            )
        rows_NC = torch.as_tensor(self.boxes[name], dtype=torch.float32)
        if rows_NC.numel() == 0:
            rows_NC = rows_NC.reshape(0, 5)
        if rows_NC.dim() != 2 or rows_NC.shape[1] not in (4, 5):
            raise DataError(
                f"the proposals of '{name}' in '{self.file}' are not rows of 4 or 5 numbers. Correct the file."
            )
        rows_NC = rows_NC.to(pictures_B3HW)
        scores_N = rows_NC[:, 4] if rows_NC.shape[1] == 5 else rows_NC.new_ones(len(rows_NC))
        best_N = scores_N.argsort(descending=True, stable=True)[: self.count]
        return InstanceData(bboxes=from_disk(rows_NC[best_N, :4], sample.metainfo), scores=scores_N[best_N])


def read_proposals(path: Path) -> dict[str, Any]:
    """Boxes by file name.

    Args:
        path: json or npz: file name of a picture to rows that start with x1, y1, x2, y2 in its pixels.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it cannot be read.
    """
    if not path.is_file():
        raise MissingFileError(f"there is no file of proposals '{path}'. Correct its path.")
    try:
        if path.suffix == '.npz':
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        return dict(json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError, OSError) as error:
        raise DataError(f"the file of proposals '{path}' cannot be read ({error}). Make it again.") from error


def name_in(proposals: dict[str, Any], path: str) -> str | None:
    """The name under which a picture stands in a file of proposals: the longest end of its path, or None.

    'a/1.jpg' goes before '1.jpg'.
    """
    parts = Path(path).parts
    return next((name for n in range(len(parts)) if (name := '/'.join(parts[n:])) in proposals), None)
