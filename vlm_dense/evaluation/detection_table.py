"""The detections of a whole data set as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

SHAPE_KEY = dict(bbox='bbox', segm='segmentation')


@dataclass(frozen=True)
class DetectionTable:
    """M detections, picture by picture in the order of the pictures' ids, within a picture in the model's order.

    The order decides between equal scores, as it does in pycocotools and lvis, so it must not depend on the order in
    which pictures were run.

    Args:
        image_ids: The ids of all pictures that were run, in ascending order.
        image_M: Position in ``image_ids``.
        category_M: The annotations' category id, not negative.
        score_M: Scores, float64.
        shapes: By 'bbox' and 'segm', what is there: boxes (M, 4) xywh in pixels, RLEs as an array of objects (M,).
    """

    image_ids: list
    image_M: np.ndarray
    category_M: np.ndarray
    score_M: np.ndarray
    shapes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.score_M)

    @classmethod
    def from_images(
        cls, images: Sequence[Mapping], category_of_word: Sequence[int | None], kinds: Sequence[str]
    ) -> 'DetectionTable':
        """Lay out what `image_detections` gave for every picture; detections of words without category are left out.

        Args:
            images: Per picture ``image`` (its id), ``scores``, ``labels`` and its shapes; ordered by id.
            category_of_word: The category id of every word, or None.
            kinds: Which shapes to take: 'bbox', 'segm' or both.
        """
        category_K = np.array([-1 if category is None else category for category in category_of_word], dtype=np.int64)
        counts = [len(image['scores']) for image in images]
        label_M = np.concatenate([image['labels'] for image in images])
        table = cls(
            image_ids=[image['image'] for image in images],
            image_M=np.repeat(np.arange(len(images)), counts),
            category_M=category_K[label_M],
            score_M=np.concatenate([image['scores'] for image in images]),
            shapes={kind: _joined(kind, [image[kind] for image in images]) for kind in kinds},
        )
        return table.take(np.flatnonzero(table.category_M >= 0))

    @classmethod
    def from_records(cls, records: Sequence[Mapping], image_ids: Sequence) -> 'DetectionTable':
        """Lay out detections in COCO's result format, each with bbox, segmentation or both.

        Args:
            records: ``image_id``, ``category_id``, ``score`` and the shapes; all records have the same ones.
            image_ids: The pictures that were run, with or without detections.
        """
        ordered = sorted(set(image_ids))
        row = {image: position for position, image in enumerate(ordered)}
        by_image = sorted(records, key=lambda record: row[record['image_id']])
        kinds = [kind for kind, key in SHAPE_KEY.items() if by_image and key in by_image[0]]
        return cls(
            image_ids=ordered,
            image_M=np.array([row[record['image_id']] for record in by_image], dtype=np.int64),
            category_M=np.array([record['category_id'] for record in by_image], dtype=np.int64),
            score_M=np.array([record['score'] for record in by_image], dtype=np.float64),
            shapes={kind: _column(kind, [record[SHAPE_KEY[kind]] for record in by_image]) for kind in kinds},
        )

    def take(self, rows: np.ndarray) -> 'DetectionTable':
        """Some detections, in ascending order of their positions."""
        return DetectionTable(
            self.image_ids,
            self.image_M[rows],
            self.category_M[rows],
            self.score_M[rows],
            {kind: column[rows] for kind, column in self.shapes.items()},
        )

    def records(self, kind: str) -> list[dict[str, Any]]:
        """COCO's result format with one shape; a second one would change the area of masks.

        A picture's ``image_id`` is its position in ``image_ids``.
        """
        return [
            {'image_id': image, 'category_id': category, 'score': score, SHAPE_KEY[kind]: shape}
            for image, category, score, shape in zip(
                self.image_M.tolist(),
                self.category_M.tolist(),
                self.score_M.tolist(),
                self.shapes[kind].tolist() if len(self) else [],
                strict=True,
            )
        ]


def _joined(kind: str, parts: list) -> np.ndarray:
    return np.concatenate(parts) if kind == 'bbox' else _column(kind, list(chain.from_iterable(parts)))


def _column(kind: str, shapes: list) -> np.ndarray:
    if kind == 'bbox':
        return np.array(shapes, dtype=np.float64).reshape(-1, 4)
    column = np.empty(len(shapes), dtype=object)
    column[:] = shapes
    return column
