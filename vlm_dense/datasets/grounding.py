"""Pre-training data of region-word methods: boxes with class names, and captions whose phrases have boxes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.odvg import check_odvg
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.caption_rows import caption_rows
from vlm_dense.datasets.json_lines import line_starts, place_of, read_line
from vlm_dense.datasets.metainfo import keep_on_samples
from vlm_dense.datasets.picture_errors import PictureErrors, require_file
from vlm_dense.datasets.shards.members import picture_path
from vlm_dense.errors import ConfigError, DataError, VocabularyError
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary

REMEDY = 'check data_root and ann_file in the config.'
# Large sets have a few such boxes; mmdet's loader leaves them out, here the pixels under them teach nothing.
ONLY_IGNORED = ('box-without-area', 'box-outside-picture')
SMALLEST_SIDE = 1.0


@DATASETS.register_module()
class GroundingDataset(PictureErrors, BaseDataset):
    """Pictures of an ODVG file (mmdet's ``ODVGDataset``), a json line each; only the places of the lines are kept.

    ``{"filename", "height", "width", "detection": {"instances": [{"bbox", "label", "category"}]}}``, boxes xyxy in
    pixels, is a picture with class names: labels are rows of the data set's vocabulary, by ``category``. Names that are
    known to be absent may be listed in ``"absent"``, beside ``"instances"``: where there is such a list, no other word
    is known to be absent (federated data sets).

    ``{..., "grounding": {"caption", "regions": [{"bbox", "phrase", "tokens_positive"}]}}`` is a caption; labels are
    rows of its own vocabulary, see `caption_rows`, and ``prompt`` says where they stand in the caption. A file may hold
    both.

    An entry brings ``vocabulary``, ``prompt`` (captions) and ``absent`` (rows, where listed), which the packing step of
    any pipeline keeps: end the pipeline with ``vlm_dense.DetectionAsGrounding``, which makes prompts of the names.

    A ``filename`` such as '00000.tar#512+20480' is a picture in a shard: first byte and length in bytes.

    Boxes with a side under a pixel, or outside their picture, are ignored regions. A line that is wrong is an error
    when it is read; ``vlm-dense data check`` finds all of them before.

    Args:
        vocabulary: Anything ``Vocabulary.build`` accepts; needed where pictures have class names.
        label_map: In its place mmdet's json file of numbers and names, below ``data_root``.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        filter_cfg: Nothing, since lines are read one at a time; mmengine's ``FilterAnnotations`` in the pipeline leaves
            out what shows nothing.
        kwargs: Arguments of mmengine's ``BaseDataset``; ``data_prefix`` has ``img``.

    Raises:
        MissingFileError: If a file does not exist.
        DataError: If a line is not ODVG, or names a class that the vocabulary lacks.
        ConfigError: If both vocabulary and label map are given, or ``filter_cfg`` asks for something.
    """

    METAINFO = dict(classes=('phrase',))

    def __init__(
        self,
        *args: Any,
        vocabulary: Any = None,
        label_map: str | None = None,
        data_root: str = '',
        remedy: str = REMEDY,
        filter_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if asked := [name for name, value in (filter_cfg or {}).items() if value]:
            raise ConfigError(
                f'filter_cfg.{asked[0]} would be passed over: GroundingDataset reads its lines one at a time. Take it '
                "out; dict(type='FilterAnnotations') in the pipeline leaves out pictures without boxes."
            )
        if vocabulary is not None and label_map is not None:
            raise ConfigError('both vocabulary and label_map name the words of one data set; leave one out.')
        self.remedy = remedy
        if label_map is not None:
            vocabulary = dict(words=read_label_map(Path(data_root, label_map), remedy))
        self.vocabulary = None if vocabulary is None else Vocabulary.build(vocabulary)
        self._names = self.vocabulary.words if label_map is not None and self.vocabulary else ()
        # What mmengine would pickle is an array already.
        kwargs['serialize_data'] = False
        super().__init__(*args, data_root=data_root, **kwargs)
        keep_on_samples(self.pipeline, 'vocabulary', 'prompt', 'absent')

    def load_data_list(self) -> np.ndarray:
        """Where the lines begin, in bytes."""
        return line_starts(self.ann_file, self.remedy)

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Read a line and make its entry.

        Raises:
            DataError: If it is wrong; the message names file, line and remedy.
        """
        start = int(self.data_list[idx])
        try:
            entry = self._entry(read_line(self.ann_file, start, self.remedy))
        except (DataError, VocabularyError) as error:
            if str(error).startswith(self.ann_file):
                raise
            raise DataError(f'{place_of(self.ann_file, start)}: {error}') from error
        number = idx if idx >= 0 else len(self) + idx
        return entry | dict(img_id=number, sample_idx=number)

    def _entry(self, record: dict[str, Any]) -> dict[str, Any]:
        self._name_labels(record)
        defects = Defects()
        check_odvg([record], CheckOptions(), defects)
        wrong = [found[0] for kind, found in defects.by_kind().items() if kind not in ONLY_IGNORED]
        if wrong:
            where = wrong[0].place.removeprefix('line[0]').lstrip('.')
            raise DataError(
                f'{where}{": " if where else ""}{wrong[0].what}; correct the file (vlm-dense data check lists all that '
                'is wrong).'
            )
        size = record['width'], record['height']
        path = picture_path(self.data_prefix.get('img') or '', record['filename'])
        entry = dict(img_path=path, width=size[0], height=size[1])
        if 'grounding' in record:
            return entry | self._caption(record['grounding'], size)
        return entry | self._detection(record['detection'], size)

    def _name_labels(self, record: dict[str, Any]) -> None:
        """Give instances without a name the one that the label map has for their number."""
        instances = (record.get('detection') or {}).get('instances') or () if self._names else ()
        for instance in instances:
            label = instance.get('label')
            name = self._names[label] if isinstance(label, int) and 0 <= label < len(self._names) else None
            if instance.setdefault('category', name) != name:
                raise DataError(f"label {label} has the name '{instance['category']}', not that of the label map.")

    def _caption(self, grounding: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        if not grounding['regions']:
            raise DataError('the caption has no region, so there is nothing to ask for; leave the line out.')
        rows = caption_rows(grounding['caption'], grounding['regions'])
        instances = _instances(rows.boxes, rows.labels, size)
        return dict(text=rows.prompt.text, vocabulary=rows.vocabulary, prompt=rows.prompt, instances=instances)

    def _detection(self, detection: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        if self.vocabulary is None:
            raise DataError('has class names, of which the data set knows none; give it a vocabulary or a label_map.')
        found = detection['instances']
        labels = [self.vocabulary.index(instance['category']) for instance in found]
        entry = dict(
            vocabulary=self.vocabulary, instances=_instances([instance['bbox'] for instance in found], labels, size)
        )
        if 'absent' in detection:
            if not all(isinstance(name, str) for name in detection['absent']):
                raise DataError("'absent' is no list of names; correct the file.")
            entry['absent'] = tuple(self.vocabulary.index(name) for name in detection['absent'])
        return entry


def read_label_map(path: Path, remedy: str) -> list[str]:
    """The names of mmdet's label map, ``{"0": "person", ...}``, in the order of their numbers.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it is none, or its numbers are not 0, 1, 2 and so on.
    """
    require_file(str(path), 'label map', remedy)
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise DataError(f'label map {path} is not json ({error}); {remedy}') from error
    if not isinstance(content, Mapping) or set(content) != set(map(str, range(len(content)))):
        raise DataError(f'label map {path} does not name the numbers 0, 1, 2 and so on, each once; {remedy}')
    return [content[str(number)] for number in range(len(content))]


def _instances(boxes: Sequence[Sequence[float]], labels: Sequence[int], size: tuple[int, int]) -> list[dict[str, Any]]:
    instances = []
    for box, label in zip(boxes, labels, strict=True):
        left, top, right, bottom = box
        inside = min(right, size[0]) > max(left, 0) and min(bottom, size[1]) > max(top, 0)
        is_large = right - left >= SMALLEST_SIDE and bottom - top >= SMALLEST_SIDE
        instances.append(dict(bbox=list(box), bbox_label=label, ignore_flag=int(not (inside and is_large))))
    return instances
