"""FSS-1000, asked by words: a folder is a class, and its name is the word."""

from pathlib import Path
from typing import Any

from vlm_dense.datasets.annotation_checks.files import names_in
from vlm_dense.datasets.episodes import Episodes
from vlm_dense.datasets.picture_errors import require_file
from vlm_dense.errors import DataError
from vlm_dense.registry import DATASETS


@DATASETS.register_module()
class FolderEpisodes(Episodes):
    """One entry per picture of the listed folders; underscores in a folder's name are spaces of the word.

    Source: FSS-1000 (arXiv:1907.12347): 1,000 folders of 10 pictures, each with a mask. ``ann_file`` lists folders, one
    a line; lines that begin with ``#`` are comments. Label maps are 1 where the class is and 0 elsewhere.

    Raises:
        MissingFileError: If the list, a folder of a class, or the folder of maps does not exist.
        DataError: If the list is empty or names a folder twice, or a folder has no picture.
    """

    def load_data_list(self) -> list[dict]:
        """List the pictures, by class and name."""
        require_file(self.ann_file, 'list of classes', self.remedy)
        pictures, maps = self._folder('img_path'), self._folder('seg_map_path')
        folders = listed_folders(Path(self.ann_file))
        if not folders or len(set(folders)) < len(folders):
            raise DataError(f'list of classes {self.ann_file} is empty or names a folder twice; {self.remedy}')
        words = [folder.replace('_', ' ') for folder in folders]
        self._metainfo['classes'] = tuple(words)
        entries = []
        for row, (folder, word) in enumerate(zip(folders, words, strict=True)):
            self._check_word(word)
            names = names_in(pictures / folder, '.jpg')
            if not names:
                raise DataError(f'folder {pictures / folder} holds no *.jpg pictures; {self.remedy}')
            entries += [self._entry(f'{folder}/{name}', word, row, pictures, maps) for name in names]
        return entries

    def _entry(self, name: str, word: str, row: int, pictures: Path, maps: Path) -> dict[str, Any]:
        return dict(
            img_path=str(pictures / f'{name}.jpg'),
            seg_map_path=str(maps / f'{name}.png'),
            img_id=name,
            phrases=(self.others, word),
            episodes=1,
            class_of=(1, 1),
            class_row=row,
            seg_fields=[],
        )


def listed_folders(path: Path) -> list[str]:
    """The names in a list, sorted."""
    lines = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
    return sorted(line for line in lines if line and not line.startswith('#'))
