"""Label maps whose classes are the words of a vocabulary."""

from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset

from vlm_dense.datasets.picture_errors import PictureErrors
from vlm_dense.datasets.words import whole_vocabulary
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary

FOLDER_REMEDY = 'check data_root and data_prefix in the config.'


@DATASETS.register_module()
class VocabularySegDataset(PictureErrors, BaseSegDataset):
    """mmseg's ``BaseSegDataset`` with classes taken from a vocabulary when the data set is built.

    Label maps on disk hold positions in ``label_vocabulary`` (K words) and, with ``background``, the number K where
    no word applies. They are turned into positions in ``vocabulary`` (J words): a word that ``vocabulary`` lacks
    becomes ``ignore_index``, background becomes J (the last column of a classifier), ``ignore_index`` stays.

    Args:
        vocabulary: Words to predict; anything ``Vocabulary.build`` accepts.
        label_vocabulary: Words that the label maps count. By default the whole list behind ``vocabulary``, before
            its ``only='base'``.
        background: Whether the label maps have the extra value K for background.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmseg's ``BaseSegDataset``.

    Raises:
        MissingFileError: If the folder of pictures does not exist.
        DataError: If the folder is empty, or a word is not among those of the label maps.
        ConfigError: If there are more words than a uint8 label map can hold.
    """

    def __init__(
        self,
        *args: Any,
        vocabulary: Any,
        label_vocabulary: Any = None,
        background: bool = True,
        remedy: str = FOLDER_REMEDY,
        **kwargs: Any,
    ) -> None:
        self.vocabulary = Vocabulary.build(vocabulary)
        self.label_vocabulary = whole_vocabulary(vocabulary if label_vocabulary is None else label_vocabulary)
        self.background = background
        self.remedy = remedy
        self._check_words()
        classes = self.vocabulary.words + (('background',) if background else ())
        kwargs['metainfo'] = dict(kwargs.get('metainfo') or {}, classes=classes)
        super().__init__(*args, **kwargs)

    # mmseg compares with a list on the class; ours belongs to the instance.
    def get_label_map(self, new_classes: Any = None) -> dict[int, int] | None:
        """Values on disk that change when read, or None if none does."""
        position = {word: label for label, word in enumerate(self.vocabulary.words)}
        ignored = int(self.ignore_index)
        pairs = {old: position.get(word, ignored) for old, word in enumerate(self.label_vocabulary.words)}
        if self.background:
            pairs[len(self.label_vocabulary)] = len(self.vocabulary)
        # mmseg passes over the whole map once per entry, so values that stay are left out.
        return {old: new for old, new in pairs.items() if old != new} or None

    def load_data_list(self) -> list[dict]:
        """List the pictures with their label maps, by name."""
        folder = str(self.data_prefix.get('img_path') or '')
        if '://' not in folder and not Path(folder).is_dir():
            raise MissingFileError(f'folder of pictures {folder} does not exist; {self.remedy}')
        data_list = super().load_data_list()
        if not data_list:
            raise DataError(f'folder {folder} holds no *{self.img_suffix} pictures; {self.remedy}')
        return data_list

    def _check_words(self) -> None:
        unknown = sorted(set(self.vocabulary.words) - set(self.label_vocabulary.words))
        if unknown:
            listed = ', '.join(repr(word) for word in unknown[:10])
            raise DataError(
                f'{len(unknown)} words of the vocabulary do not occur in the label maps: {listed}; correct the words, '
                'or give the words of the label maps as label_vocabulary.'
            )
        if len(self.label_vocabulary) > 254:
            raise ConfigError(
                f'{len(self.label_vocabulary)} words do not fit uint8 label maps with 255 as ignore; use at most 254.'
            )
