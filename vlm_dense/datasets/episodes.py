"""PASCAL-5i and COCO-20i, asked by words: a picture, the word "others", and one class that the picture shows."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.dataset import BaseDataset

from vlm_dense.datasets.episode_lists import PART_FILES, Draw, Layout, Pair, draw_episodes, fold_numbers, read_pairs
from vlm_dense.datasets.label_values import IGNORED_8_BIT, label_table
from vlm_dense.datasets.metainfo import keep_on_samples
from vlm_dense.datasets.picture_errors import PictureErrors
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.text.word_checks import normalise_word

OTHERS, CLASS = 0, 1
OTHERS_WORD = 'others'  # as in LSeg
REMEDY = 'run tools/data/prepare.py (docs/datasets.md).'


class Episodes(PictureErrors, BaseDataset):
    """Entries with two words each: label 0 is "others", label 1 the class, 255 counts for nothing.

    An entry has ``img_id``, picture and class in one string, ``phrases``, the two words, and ``episodes``, how often it
    counts. The packing step of whatever pipeline the data set is given keeps them; ``vlm_dense.LoadLabelMap`` makes the
    labels, and ``vlm_dense.AttachVocabulary()`` asks for the words. Classes of other folds are "others".

    Args:
        others: The word for everything else.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmengine's ``BaseDataset``; ``data_prefix`` has ``img_path`` and ``seg_map_path``.
    """

    def __init__(self, *args: Any, others: str = OTHERS_WORD, remedy: str = REMEDY, **kwargs: Any) -> None:
        self.others = others
        self.remedy = remedy
        self._tables: dict[tuple[int, int], np.ndarray] = {}
        super().__init__(*args, **kwargs)
        keep_on_samples(self.pipeline, 'img_id', 'phrases', 'episodes')

    def get_data_info(self, idx: int) -> dict:
        """One episode, and what the numbers of its label map mean."""
        described = super().get_data_info(idx)
        return dict(described, label_table=self._table(*described['class_of']))

    def get_cat_ids(self, idx: int) -> list[int]:
        """The row of the episode's class among the data set's ``classes``, for samplers that balance classes."""
        return [super().get_data_info(idx)['class_row']]

    def _table(self, number: int, num_classes: int) -> np.ndarray:
        key = number, num_classes
        if key not in self._tables:
            labels = [CLASS if other == number else OTHERS for other in range(1, num_classes + 1)]
            self._tables[key] = label_table(labels, 1, OTHERS, IGNORED_8_BIT)
        return self._tables[key]

    def _folder(self, key: str) -> Path:
        folder = Path(str(self.data_prefix.get(key) or ''))
        if not folder.is_dir():
            raise MissingFileError(f'folder {folder} does not exist; {self.remedy}')
        return folder

    def _check_word(self, word: str) -> None:
        if normalise_word(word) == normalise_word(self.others):
            raise DataError(f"a class is called '{word}', as everything else is; give the data set another others=...")


@DATASETS.register_module()
class FoldEpisodes(Episodes):
    """One entry per picture and class of a fold (``part='val'``), or of the three other folds (``'trn'``).

    Source: PASCAL-5i (OSLSM, arXiv:1709.03410) and COCO-20i (FWB, arXiv:1909.13140) with the lists and the counting of
    HSNet (arXiv:2104.01538), asked without support pictures as LSeg does (arXiv:2201.03546, Sec. 4.1). ``ann_file`` is
    the folder with the lists ``{trn,val}/fold{0..3}.txt``, see `vlm_dense.datasets.episode_lists`. Training takes every
    listed pair whose class is not of the fold, whichever file lists it; the fold's classes are "others" there.

    Args:
        vocabulary: The words of all classes in the order of their numbers, which begin at 1 in the label maps; anything
            that ``Vocabulary.build`` accepts.
        fold: 0 to 3.
        layout: Which classes a fold has, see `fold_numbers`.
        part: 'trn' or 'val'.
        draw: Which pairs count how often, see `draw_episodes`.
        num_episodes: How many are drawn; not of 'all'.
        seed: Of the draw.
        kwargs: Arguments of `Episodes`.

    Raises:
        ConfigError: If an argument has none of its values.
        MissingFileError: If a list or a folder does not exist.
        DataError: If a list is damaged, or lacks a class that is to be drawn.
    """

    def __init__(
        self,
        *args: Any,
        vocabulary: Any,
        fold: int,
        layout: Layout,
        part: Literal['trn', 'val'] = 'val',
        draw: Draw = 'all',
        num_episodes: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.vocabulary = Vocabulary.build(vocabulary)
        own = fold_numbers(fold, len(self.vocabulary), layout)
        if part not in ('trn', 'val'):
            raise ConfigError(f"FoldEpisodes: part='{part}'; write 'trn' or 'val'.")
        self.fold, self.part = fold, part
        self.draw, self.num_episodes, self.seed = draw, num_episodes, seed
        every = range(1, len(self.vocabulary) + 1)
        self.numbers = own if part == 'val' else tuple(number for number in every if number not in own)
        words = tuple(self.vocabulary.words[number - 1] for number in self.numbers)
        super().__init__(*args, metainfo=dict(kwargs.pop('metainfo', None) or {}, classes=words), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the lists and draw."""
        pictures, maps = self._folder('img_path'), self._folder('seg_map_path')
        for word in self.metainfo['classes']:
            self._check_word(word)
        drawn = draw_episodes(self._pairs(), self.draw, self.num_episodes, self.seed, self.numbers)
        return [self._entry(pair, times, pictures, maps) for pair, times in drawn.items()]

    def _pairs(self) -> list[Pair]:
        folder = Path(self.ann_file, self.part)
        files = [folder / f'fold{self.fold}.txt'] if self.part == 'val' else sorted(folder.glob(PART_FILES))
        if not files:
            raise MissingFileError(f'folder {folder} holds no lists {PART_FILES}; {self.remedy}')
        listed = [pair for file in files for pair in read_pairs(file, len(self.vocabulary), self.remedy)]
        pairs = [pair for pair in listed if pair.number in self.numbers]
        if not pairs:
            raise DataError(f'the lists in {folder} have no class of fold {self.fold}; {self.remedy}')
        return pairs

    def _entry(self, pair: Pair, times: int, pictures: Path, maps: Path) -> dict[str, Any]:
        return dict(
            img_path=str(pictures / f'{pair.name}.jpg'),
            seg_map_path=str(maps / f'{pair.name}.png'),
            img_id=f'{pair.name}__{pair.number:02}',
            phrases=(self.others, self.vocabulary.words[pair.number - 1]),
            episodes=times,
            class_of=(pair.number, len(self.vocabulary)),
            class_row=self.numbers.index(pair.number),
            seg_fields=[],
        )
