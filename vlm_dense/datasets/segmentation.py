"""Label maps whose classes are the words of a vocabulary."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset

from vlm_dense.datasets.label_values import IGNORED_8_BIT, background_value, ignore_label, label_table
from vlm_dense.datasets.picture_errors import PictureErrors, require_file
from vlm_dense.datasets.words import whole_vocabulary
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary

FOLDER_REMEDY = 'check data_root and data_prefix in the config.'


@DATASETS.register_module()
class VocabularySegDataset(PictureErrors, BaseSegDataset):
    """mmseg's ``BaseSegDataset`` with classes taken from a vocabulary when the data set is built.

    Label maps on disk count ``label_vocabulary`` (K words) from ``first_label`` on. With ``background`` one more number
    says that no word applies: the one before the words, or K where they begin at 0. Numbers before the words which are
    not background, 255 and 65535 are ignored unless they are words. `LoadLabelMap` turns the numbers into positions in
    ``vocabulary`` (J words): a word that ``vocabulary`` lacks becomes ``ignore_index``, background becomes J (the last
    column of a classifier). mmseg's ``LoadAnnotations`` does so for up to 254 words and does not see wrong numbers.

    - ADE20K-150, PASCAL Context-59, VOC-20: ``first_label=1, background=False``
    - PASCAL Context-60, VOC-21, COCO-Object: ``first_label=1, background=True``
    - ADE20K-847, Context-459, Cityscapes, COCO-Stuff (``*labelTrainIds.png``): ``first_label=0, background=False``
    - the built-in pictures: ``first_label=0, background=True``

    Args:
        vocabulary: Words to predict; anything ``Vocabulary.build`` accepts.
        label_vocabulary: Words that the label maps count. By default the whole list behind ``vocabulary``, before
            its ``only='base'``.
        first_label: Number of the first word in the label maps.
        background: Whether a number stands for background.
        ignore_index: Label of pixels that count for nothing; by default 255, and 65535 from 255 words on.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmseg's ``BaseSegDataset``.

    Raises:
        MissingFileError: If the folder of pictures or the list of their names does not exist.
        DataError: If the folder is empty, or a word is not among those of the label maps.
        ConfigError: If ``ignore_index`` is a label, there are more words than 16 bits can hold, ``reduce_zero_label``
            is set (``first_label=1`` says the same), or mmseg's ``LoadAnnotations`` is to read more than 254 words.
    """

    def __init__(
        self,
        *args: Any,
        vocabulary: Any,
        label_vocabulary: Any = None,
        first_label: int = 0,
        background: bool = True,
        ignore_index: int | None = None,
        remedy: str = FOLDER_REMEDY,
        **kwargs: Any,
    ) -> None:
        self.vocabulary = Vocabulary.build(vocabulary)
        self.label_vocabulary = whole_vocabulary(vocabulary if label_vocabulary is None else label_vocabulary)
        self.first_label = first_label
        self.background = background
        self.remedy = remedy
        self._check_words()
        ignored = ignore_label(len(self.vocabulary)) if ignore_index is None else ignore_index
        self._check_settings(ignored, kwargs)
        position = {word: label for label, word in enumerate(self.vocabulary.words)}
        self.label_table = label_table(
            [position.get(word, ignored) for word in self.label_vocabulary.words],
            first_label,
            len(self.vocabulary) if background else None,
            ignored,
        )
        classes = self.vocabulary.words + (('background',) if background else ())
        kwargs['metainfo'] = dict(kwargs.get('metainfo') or {}, classes=classes)
        super().__init__(*args, ignore_index=ignored, **kwargs)

    # mmseg compares with a list on the class; ours belongs to the instance.
    def get_label_map(self, new_classes: Any = None) -> dict[int, int] | None:
        """Numbers on disk that change when read, for mmseg's loader, or None if none does."""
        words = len(self.label_vocabulary)
        numbers = range(max(self.first_label + words, background_value(words, self.first_label) + self.background))
        # mmseg passes over the whole map once per entry, so numbers that stay are left out.
        changed = {old: int(self.label_table[old]) for old in numbers if old != self.label_table[old]}
        return changed or None

    def load_data_list(self) -> list[dict]:
        """List the pictures with their label maps, by name."""
        folder = str(self.data_prefix.get('img_path') or '')
        if '://' not in folder and not Path(folder).is_dir():
            raise MissingFileError(f'folder of pictures {folder} does not exist; {self.remedy}')
        if self.ann_file:
            require_file(self.ann_file, 'list of pictures', self.remedy)
        data_list = super().load_data_list()
        if not data_list:
            raise DataError(f'folder {folder} holds no *{self.img_suffix} pictures; {self.remedy}')
        for described in data_list:
            # The same for all pictures: `get_data_info` adds it.
            del described['label_map']
        return data_list

    def get_data_info(self, idx: int) -> dict:
        """Paths of one picture, and what the numbers of its label map mean."""
        return dict(super().get_data_info(idx), label_map=self.label_map, label_table=self.label_table)

    def _check_words(self) -> None:
        unknown = sorted(set(self.vocabulary.words) - set(self.label_vocabulary.words))
        if unknown:
            listed = ', '.join(repr(word) for word in unknown[:10])
            raise DataError(
                f'{len(unknown)} words of the vocabulary do not occur in the label maps: {listed}; correct the words, '
                'or give the words of the label maps as label_vocabulary.'
            )

    def _check_settings(self, ignored: int, settings: dict) -> None:
        words = len(self.vocabulary)
        if settings.get('reduce_zero_label'):
            raise ConfigError('VocabularySegDataset: reduce_zero_label hard-codes 8 bits; write first_label=1.')
        if 0 <= ignored < words + self.background or not 0 <= ignored <= 65535:
            raise ConfigError(
                f'VocabularySegDataset: ignore_index={ignored} is a label ({words} words) or no 16-bit number; '
                f'leave it out: it is {ignore_label(words)}.'
            )
        by_mmseg = any(name.rpartition('.')[2] == 'LoadAnnotations' for name in _types(settings.get('pipeline', ())))
        if by_mmseg and len(self.label_vocabulary) + self.first_label >= IGNORED_8_BIT:
            raise ConfigError(
                f"mmseg's LoadAnnotations keeps 8 bits, too few for {len(self.label_vocabulary)} words; use "
                'vlm_dense.LoadLabelMap in its place.'
            )


def _types(steps: Any) -> Iterator[str]:
    """Names of all steps of a pipeline, also of those inside others."""
    if isinstance(steps, Mapping):
        yield str(steps.get('type', ''))
        steps = tuple(steps.values())
    if isinstance(steps, Sequence) and not isinstance(steps, str):
        for step in steps:
            yield from _types(step)
