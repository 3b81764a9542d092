"""One pass over annotations of any known format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlm_dense.datasets.annotation_checks.coco import check_coco
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.label_maps import check_label_maps
from vlm_dense.datasets.annotation_checks.odvg import check_odvg
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.phrase_cut import check_phrase_cut
from vlm_dense.datasets.annotation_checks.reading import FORMATS, kind_of, read_content
from vlm_dense.datasets.annotation_checks.words import check_word_list
from vlm_dense.errors import ConfigError, DataError

CHECKS: dict[str, Callable[[Any, CheckOptions, Defects], None]] = dict(
    coco=check_coco, odvg=check_odvg, phrases=check_phrase_cut, words=check_word_list
)
# What a format has to compare with.
COMPARED = dict(
    coco=('vocabulary', 'pictures', 'maps'),
    odvg=('vocabulary', 'pictures'),
    phrases=('pictures',),
    words=('vocabulary',),
    folder=('vocabulary', 'pictures'),
)


def check_annotations(path: Path, options: CheckOptions | None = None) -> Defects:
    """Find everything that is wrong with an annotation file or a folder of label maps.

    The time grows with the file. Picture files are opened only where ``options.pictures`` names their folder.

    Args:
        path: A json file, a file of json lines, or a folder of label maps.
        options: What to compare with.

    Returns:
        What was found, with the format and the numbers of records looked at.

    Raises:
        MissingFileError: If the file, or a folder of the options, does not exist.
        DataError: If the file is not json, or of no known format.
        ConfigError: If the options name something that this format cannot be compared with.
    """
    options = options or CheckOptions()
    defects = Defects()
    if path.is_dir():
        _refuse_unused(path, 'folder', options)
        check_label_maps(path, options, defects)
        return defects
    content = read_content(path, defects)
    kind = kind_of(content)
    if kind is None:
        raise DataError(f"'{path}' is of no known format. Give {FORMATS}.")
    _refuse_unused(path, kind, options)
    CHECKS[kind](content, options, defects)
    return defects


def _refuse_unused(path: Path, kind: str, options: CheckOptions) -> None:
    for name in ('vocabulary', 'pictures', 'maps'):
        if getattr(options, name) is not None and name not in COMPARED[kind]:
            raise ConfigError(f"for '{path}' ({kind}) --{name} means nothing. Leave it out.")
