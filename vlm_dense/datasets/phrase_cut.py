"""PhraseCut: pictures of Visual Genome, each with a phrase and the regions that it refers to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from vlm_dense.datasets.picture_errors import PictureErrors, require_file
from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.registry import DATASETS

REMEDY = 'fetch VGPhraseCut_v0 with the scripts of ChenyunWu/PhraseCutDataset, and check data_root.'
CORNERS = 3  # fewer make no area
# The annotations count other pixels than these pictures have (timojl/clipseg, datasets/phrasecut.py).
OTHER_SIZE = frozenset(
    [61530, 61564, 150333, 150344, 150417, 150516, 285665, 285743, 285761, 285814, 286065, 286093]
    + [498010, 498042, 498187, 498246, 498269]
)


@DATASETS.register_module()
class PhraseCutDataset(PictureErrors, BaseDataset):
    """One entry per phrase: its picture, the phrase and its polygons. `LoadPhraseMask` makes the label map.

    Source: PhraseCut (arXiv:2008.01187), ``refer_train.json``, ``refer_val.json`` and ``refer_test.json``: a list of
    tasks with ``image_id``, ``phrase`` and ``Polygons``, a list of polygons [[x, y], ...] in pixels for each instance.
    Pictures are called ``{image_id}.jpg``. Left out are pictures whose annotations are known to count other pixels, and
    tasks whose polygons have no area.

    Args:
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmengine's ``BaseDataset``; ``data_prefix`` has ``img_path``.

    Raises:
        MissingFileError: If the annotation file or the folder of pictures does not exist.
        DataError: If the file is no such list, or nothing of it can be used.
    """

    METAINFO = dict(classes=('phrase', 'background'))

    def __init__(self, *args: Any, remedy: str = REMEDY, **kwargs: Any) -> None:
        self.remedy = remedy
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the tasks: ``img_path``, ``phrase``, and ``polygons``, flat arrays x, y, x, y, ... in pixels."""
        require_file(self.ann_file, 'annotation file', self.remedy)
        folder = Path(str(self.data_prefix.get('img_path') or ''))
        if not folder.is_dir():
            raise MissingFileError(f'folder of pictures {folder} does not exist; {self.remedy}')
        try:
            tasks = json.loads(Path(self.ann_file).read_text(encoding='utf-8'))
            data_list = list(_entries(tasks, folder))
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"annotation file {self.ann_file} is not PhraseCut's ({type(error).__name__}: {error}); {self.remedy}"
            ) from error
        if not data_list:
            raise DataError(f'annotation file {self.ann_file} holds no task with an area; {self.remedy}')
        return data_list


def _entries(tasks: list[dict], folder: Path) -> Iterator[dict]:
    for task in tasks:
        flat = [
            np.asarray(polygon, dtype=np.float32).reshape(-1, 2).ravel()
            for instance in task['Polygons']
            for polygon in instance
            if len(polygon) >= CORNERS
        ]
        if flat and task['image_id'] not in OTHER_SIZE:
            picture = folder / f'{task["image_id"]}.jpg'
            yield dict(img_path=str(picture), phrase=task['phrase'], polygons=flat, seg_fields=[])
