"""Source "stamps": photographs of objects and of backgrounds from Tux Paint."""

from pathlib import Path

from PIL import Image

from vlm_dense.datasets.pictures.cutouts import CutOut, PictureSource, read_background, trim
from vlm_dense.datasets.pictures.debian import fetch_photographs, read_list

ORIGIN = 'photographs of Tux Paint (Debian packages tuxpaint-stamps-default and tuxpaint-data)'
LICENCE = 'GPL-2.0-or-later'


def stamps_source(cache: Path | None = None) -> PictureSource:
    """The photographs, fetched first where they are not in the cache.

    Args:
        cache: Folder for downloads.

    Raises:
        MissingFileError: If they cannot be fetched; the message names the remedy.
        StorageError: If the cache cannot be written.
    """
    folder = fetch_photographs(cache)
    cutouts = []
    for row in read_list('stamps.csv'):
        with Image.open(folder / 'stamps' / row['stamp']) as photo:
            cutouts.append(CutOut(row['name'], row['stamp'], trim(photo.convert('RGBA'))))
    names = [row['photo'] for row in read_list('backgrounds.csv')]
    backgrounds = {name: read_background(folder / 'templates' / name) for name in names}
    return PictureSource('stamps', ORIGIN, LICENCE, tuple(cutouts), backgrounds)
