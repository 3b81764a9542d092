"""Tar files made of names and contents."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar file of these members, in their order."""
    with tarfile.open(path, 'w') as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
