"""Regions of pictures, each with a noun that a caption calls it by."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from vlm_dense.datasets.annotation_checks.masks import mask_problem
from vlm_dense.datasets.json_lines import line_starts, place_of, read_line
from vlm_dense.datasets.metainfo import keep_on_samples
from vlm_dense.datasets.picture_errors import PictureErrors
from vlm_dense.datasets.shards.members import picture_path
from vlm_dense.errors import ConfigError, DataError, VocabularyError
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary

REMEDY = 'make the pairs with tools/mask_nouns.py.'
TEXTS = ('filename', 'noun')


@DATASETS.register_module()
class MaskNounDataset(PictureErrors, BaseDataset):
    """Pairs of a mask and a noun as ``tools/mask_nouns.py`` writes them, a json line each.

    ``{"filename", "height", "width", "noun", "caption", "segmentation": {"size", "counts"}, "score"}``, with the mask
    as COCO's compressed RLE. A ``filename`` such as '00000.tar#512+20480' is a picture in a shard. Lines are read one
    at a time; `CutMaskedRegion` makes a picture of the region.

    An entry brings ``noun``, ``vocabulary`` and ``label``, the noun's row in it; the packing step of any pipeline keeps
    the first two.

    Args:
        all_nouns: Every entry's vocabulary holds the distinct nouns of the whole file, for tests of naming, in place of
            its own noun alone. The file is then read once more when the data set is built.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        filter_cfg: Nothing, since lines are read one at a time.
        kwargs: Arguments of mmengine's ``BaseDataset``; ``data_prefix`` has ``img``.

    Raises:
        MissingFileError: If a file does not exist.
        DataError: If a line is not as above.
        ConfigError: If ``filter_cfg`` asks for something.
    """

    METAINFO = dict(classes=('noun',))

    def __init__(
        self,
        *args: Any,
        all_nouns: bool = False,
        remedy: str = REMEDY,
        filter_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if asked := [name for name, value in (filter_cfg or {}).items() if value]:
            raise ConfigError(
                f'filter_cfg.{asked[0]} would be passed over: MaskNounDataset reads its lines one at a time. Take it '
                'out; tools/mask_nouns.py --score leaves out pairs that fit badly.'
            )
        self.all_nouns, self.remedy = all_nouns, remedy
        self.vocabulary: Vocabulary | None = None
        # What mmengine would pickle is an array already.
        kwargs['serialize_data'] = False
        super().__init__(*args, **kwargs)
        keep_on_samples(self.pipeline, 'noun', 'vocabulary')

    def load_data_list(self) -> np.ndarray:
        """Where the lines begin, in bytes."""
        starts = line_starts(self.ann_file, self.remedy)
        if self.all_nouns:
            nouns = (self._record(int(start))['noun'] for start in starts)
            self.vocabulary = Vocabulary.from_words(nouns, dedupe=True)
        return starts

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Read a line and make its entry.

        Raises:
            DataError: If it is wrong; the message names file, line and remedy.
        """
        start = int(self.data_list[idx])
        record = self._record(start)
        rle = record.get('segmentation')
        size: Any = record.get('width'), record.get('height')
        is_rle = isinstance(rle, dict) and isinstance(rle.get('counts'), str)
        problem = mask_problem(rle, size) if is_rle else ('', "'segmentation' is no compressed RLE")
        if problem is not None:
            raise DataError(f'{place_of(self.ann_file, start)}: {problem[1]}; {self.remedy}')
        number = idx if idx >= 0 else len(self) + idx
        vocabulary = self.vocabulary or self._words(record['noun'], start)
        return dict(
            img_path=picture_path(self.data_prefix.get('img') or '', record['filename']),
            width=size[0],
            height=size[1],
            segmentation=rle,
            noun=record['noun'],
            vocabulary=vocabulary,
            label=vocabulary.index(record['noun']),
            img_id=number,
            sample_idx=number,
        )

    def _record(self, start: int) -> dict[str, Any]:
        record = read_line(self.ann_file, start, self.remedy)
        for name in TEXTS:
            if not isinstance(record.get(name), str):
                raise DataError(f"{place_of(self.ann_file, start)}: '{name}' is no text; {self.remedy}")
        return record

    def _words(self, noun: str, start: int) -> Vocabulary:
        try:
            return Vocabulary.from_words([noun])
        except VocabularyError as error:
            raise DataError(f'{place_of(self.ann_file, start)}: {error} {self.remedy}') from error
