"""A file inside a tar file, by its place: ``tar://FOLDER/00000.tar#512+20480``."""

import re
import tarfile
from pathlib import Path

from mmengine.fileio import BaseStorageBackend, register_backend

from vlm_dense.errors import DataError, MissingFileError

SCHEME = 'tar://'
PLACE = re.compile(r'(.+)#(\d+)\+(\d+)')


def member_uri(shard: str, start: int, size: int) -> str:
    """What a reader of pictures is given: the shard, the first byte of the file in it, and its length in bytes."""
    return f'{SCHEME}{shard}#{start}+{size}'


def picture_path(folder: str, name: str) -> str:
    """A picture below a folder; a name such as '00000.tar#512+20480' lies in a shard there."""
    path = str(Path(folder, name))
    return SCHEME + path if PLACE.fullmatch(name) else path


def read_member(uri: str) -> bytes:
    """The bytes at a place.

    Raises:
        MissingFileError: If the shard does not exist.
        DataError: If it is no place, or the shard ends before.
    """
    found = PLACE.fullmatch(uri.removeprefix(SCHEME))
    if found is None:
        raise DataError(f"'{uri}' is no place in a shard; write tar://SHARD#FIRST_BYTE+BYTES.")
    shard, start, size = found[1], int(found[2]), int(found[3])
    try:
        with Path(shard).open('rb') as file:
            file.seek(start)
            content = file.read(size)
    except FileNotFoundError as error:
        raise MissingFileError(f'shard {shard} does not exist; put it back, or correct the paths.') from error
    if len(content) < size:
        raise DataError(f'shard {shard} ends before the {size} bytes at {start}; fetch it again.')
    return content


def member_name(uri: str) -> str:
    """The shard and the name of the file in it, for messages; the shard is searched from its beginning."""
    shard, _, place = uri.removeprefix(SCHEME).rpartition('#')
    start = int(place.split('+')[0])
    with tarfile.open(shard, 'r:') as archive:
        name = next((member.name for member in archive if member.offset_data == start), f'byte {start}')
    return f'{shard}: {name}'


class TarMemberBackend(BaseStorageBackend):
    """Lets mmengine's and mmcv's readers, ``LoadImageFromFile`` among them, read files in tar files."""

    def get(self, filepath: str | Path) -> bytes:
        """As `read_member`."""
        return read_member(str(filepath))

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """As `read_member`, decoded."""
        return read_member(str(filepath)).decode(encoding)


register_backend('vlm_dense_tar', TarMemberBackend, force=True, prefixes='tar')
