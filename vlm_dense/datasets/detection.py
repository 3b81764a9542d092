"""COCO-format boxes and masks whose classes are the words of a vocabulary."""

import contextlib
import copy
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from mmdet.datasets import CocoDataset

from vlm_dense.datasets.metainfo import keep_on_samples
from vlm_dense.datasets.picture_errors import PictureErrors, require_file
from vlm_dense.datasets.words import whole_vocabulary
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary, normalise_word

COCO_IMAGE_HOST = 'http://images.cocodataset.org/'
ANNOTATION_REMEDY = 'check data_root and ann_file in the config.'


@DATASETS.register_module()
class VocabularyCocoDataset(PictureErrors, CocoDataset):
    """mmdet's ``CocoDataset`` with the words of a vocabulary as classes, read when the data set is built.

    Labels are positions in the vocabulary, whatever the order of the categories in the file (mmdet's own follow the
    order of the file). With ``dict(file=..., only='base')`` the file's categories are compared with the whole list
    and the objects of the remaining words are left out.

    Names are compared as words are: case and white space do not matter. LVIS v1 files, whose pictures have a
    ``coco_url`` in place of a ``file_name``, are read too. Their ``neg_category_ids``, categories known to be absent
    from a picture, are its ``absent`` rows, and for training they are kept on its sample.

    Args:
        vocabulary: Anything ``Vocabulary.build`` accepts.
        other_categories: What to do with categories of the file that the vocabulary lacks: ``'refuse'``, or ``'drop'``
            to leave their objects out (as OV-COCO's 65 of 80 names need).
        objects: ``'all'``, or ``'base'`` to leave out objects of novel words while labels keep counting all words
            (ViLD trains so: all words stand in the softmax, the novel ones without objects).
        category_words: The word of categories whose names in the file are no words, or None to leave one's objects out.
        path_parts: How many of the last parts of a ``file_name`` lead to the picture, 0 for all. Objects365 v2 writes
            ``images/v1/patch8/objects365_v1_00420917.jpg`` for ``patch8/objects365_v1_00420917.jpg``: 2.
        box_slack: Pixels by which a box may reach over the edge of its picture, for files with rounded numbers.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmdet's ``CocoDataset``.

    Raises:
        MissingFileError: If the annotation file does not exist.
        DataError: If the file is not COCO json, its category names do not match, or a box lies outside its picture.
        ConfigError: If ``other_categories`` or ``objects`` is neither of its two values.
    """

    def __init__(
        self,
        *args: Any,
        vocabulary: Any,
        other_categories: str = 'refuse',
        objects: str = 'all',
        category_words: Mapping[str, str | None] | None = None,
        path_parts: int = 0,
        box_slack: float = 2.0,
        remedy: str = ANNOTATION_REMEDY,
        **kwargs: Any,
    ) -> None:
        if other_categories not in ('refuse', 'drop'):
            raise ConfigError(f"other_categories is '{other_categories}'; write 'refuse' or 'drop'.")
        if objects not in ('all', 'base'):
            raise ConfigError(f"objects is '{objects}'; write 'all' or 'base'.")
        self.objects = objects
        self.category_words = dict(category_words or {})
        self.path_parts = path_parts
        try:
            self.vocabulary = Vocabulary.build(vocabulary)
        except MissingFileError as error:
            # The words may stand in the data set's own annotations.
            raise MissingFileError(f'{error} {remedy}') from error
        self.expected_words = frozenset(whole_vocabulary(vocabulary).words)
        self.other_categories = other_categories
        self.box_slack = box_slack
        self.remedy = remedy
        kwargs['metainfo'] = dict(kwargs.get('metainfo') or {}, classes=self.vocabulary.words)
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the file and give every picture its path and its boxes with labels into the vocabulary."""
        coco = self._open()
        ids = self._category_ids(coco)
        flagged = zip(self.vocabulary.words, self.vocabulary.is_base, strict=True)
        wanted = [word for word, is_base in flagged if word in ids and (is_base or self.objects == 'all')]
        self.cat_ids = [ids[word] for word in wanted]
        self.cat2label = {ids[word]: self.vocabulary.index(word) for word in wanted}
        self.cat_img_map = copy.deepcopy(coco.cat_img_map)
        data_list = []
        is_federated = any('neg_category_ids' in image for image in coco.dataset['images'])
        if is_federated and not self.test_mode:
            keep_on_samples(self.pipeline, 'absent')
        for image_id in coco.get_img_ids():
            image = dict(coco.load_imgs([image_id])[0], img_id=image_id)
            if 'file_name' not in image and 'coco_url' in image:
                image['file_name'] = place_of_url(image['coco_url'])
            if self.path_parts:
                image['file_name'] = '/'.join(image['file_name'].split('/')[-self.path_parts :])
            annotations = coco.load_anns(coco.get_ann_ids(img_ids=[image_id]))
            entry = self.parse_data_info({'raw_img_info': image, 'raw_ann_info': annotations})
            if is_federated:
                absent = image.get('neg_category_ids', ())
                entry['absent'] = tuple(sorted(self.cat2label[one] for one in absent if one in self.cat2label))
            data_list.append(entry)
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Turn one picture's records into mmdet's form.

        Raises:
            DataError: If a record lacks a field, or a box lies outside the picture or is not made of numbers.
        """
        image = raw_data_info['raw_img_info']
        try:
            for annotation in raw_data_info['raw_ann_info']:
                self._check_box(annotation, image)
            return super().parse_data_info(raw_data_info)
        except (KeyError, TypeError) as error:
            raise DataError(
                f'{self.ann_file}: picture {image.get("file_name", image["img_id"])} or one of its annotations has no '
                f'usable {error}; repair the file.'
            ) from error

    def _open(self) -> Any:
        require_file(self.ann_file, 'annotation file', self.remedy)
        try:
            # pycocotools prints its progress.
            with contextlib.redirect_stdout(io.StringIO()):
                coco = self.COCOAPI(self.ann_file)
        except (json.JSONDecodeError, UnicodeDecodeError, AssertionError, KeyError, TypeError) as error:
            raise DataError(
                f'annotation file {self.ann_file} is not COCO json ({type(error).__name__}: {error}); {self.remedy}'
            ) from error
        if not coco.dataset.get('images') or not coco.dataset.get('categories'):
            raise DataError(f'annotation file {self.ann_file} lists no images or no categories; {self.remedy}')
        return coco

    def _category_ids(self, coco: Any) -> dict[str, int]:
        """The category id of every word that the file has, by the vocabulary's spelling."""
        renamed = ((self.category_words.get(one['name'], one['name']), one['id']) for one in coco.dataset['categories'])
        named = [(name, category) for name, category in renamed if name is not None]
        ids = {normalise_word(name): category for name, category in named}
        if len(ids) < len(named):
            twice = [name for name, category in named if ids[normalise_word(name)] != category]
            raise DataError(
                f'{self.ann_file}: several categories have the name {_some(twice)}, as words are compared; correct the '
                'file, or give them different category_words.'
            )
        expected = {normalise_word(word) for word in self.expected_words}
        only_words = [word for word in self.expected_words if normalise_word(word) not in ids]
        only_file = [name for name, _ in named if normalise_word(name) not in expected]
        if self.other_categories == 'drop':
            only_file = []
        if only_words or only_file:
            raise DataError(
                f'{self.ann_file}: category names do not match the vocabulary. Only in the file: {_some(only_file)}; '
                f'only in the vocabulary: {_some(only_words)}. Correct the words, or the file; other_categories='
                "'drop' leaves out what only the file has."
            )
        words = ((word, ids.get(normalise_word(word))) for word in self.vocabulary.words)
        return {word: category for word, category in words if category is not None}

    def _check_box(self, annotation: dict, image: dict) -> None:
        x, y, width, height = box = annotation['bbox']
        slack = self.box_slack
        if (
            all(math.isfinite(number) for number in box)
            and min(x, y) >= -slack
            and x + width <= image['width'] + slack
            and y + height <= image['height'] + slack
        ):
            return
        raise DataError(
            f'{self.ann_file}: annotation {annotation["id"]} of picture {image["file_name"]} has the box {box} '
            f'(x, y, width, height), outside the picture of {image["width"]} x {image["height"]} pixels; correct the '
            'annotation, or raise box_slack.'
        )


def _some(names: list[str], shown: int = 10) -> str:
    listed = ', '.join(repr(name) for name in sorted(names)[:shown])
    return (listed or 'none') + (f' and {len(names) - shown} more' if len(names) > shown else '')


def place_of_url(coco_url: str) -> str:
    """Where `VocabularyCocoDataset` looks for an LVIS picture, such as ``val2017/000000397133.jpg``."""
    return coco_url.replace(COCO_IMAGE_HOST, '')
