"""Where the samples of a shard lie, found once and kept."""

import hashlib
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlm_dense.errors import DataError
from vlm_dense.folders import cache_root, whole_file

PICTURES = ('jpg', 'jpeg', 'png', 'webp')
CAPTIONS = ('txt', 'json')
# The format's rule: what comes before the first dot of the last part of the path is the sample's key.
MEMBER = re.compile(r'((?:.*/)?[^./][^./]*)\.([^/]*)')
END_OF_ARCHIVE = 1024  # bytes, all 0
VERSION = 1
logger = logging.getLogger(__name__)


class ShardIndex(NamedTuple):
    """The samples of a shard, in order.

    Args:
        places_N5: First byte and length of the picture, first byte and length of the caption, and whether the caption
            stands in json; int64.
        problems: What is no whole sample, each with its reason.
    """

    places_N5: np.ndarray
    problems: list[str]


def index_shard(path: str) -> ShardIndex:
    """The index of a shard, from the cache where the shard has not changed since; else its headers are read.

    Raises:
        DataError: If it is no tar file, or cut off.
    """
    state = os.stat(path)
    identity = f'{VERSION}:{os.path.abspath(path)}:{state.st_size}:{state.st_mtime_ns}'
    kept = cache_root() / 'shards' / f'{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json'
    try:
        content = json.loads(kept.read_text(encoding='utf-8'))
        return ShardIndex(np.array(content['places'], np.int64).reshape(-1, 5), content['problems'])
    except (OSError, ValueError, KeyError, TypeError):
        index = read_index(path)
    try:
        with whole_file(kept) as file:
            file.write_text(json.dumps(dict(places=index.places_N5.tolist(), problems=index.problems)))
    except OSError as error:
        logger.warning('the index of %s is not kept: %s', path, error)
    return index


def read_index(path: str) -> ShardIndex:
    """The index of a shard, from its headers.

    Raises:
        DataError: If it is no tar file, or cut off.
    """
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    problems = []
    try:
        with Path(path).open('rb') as file:
            file.seek(-END_OF_ARCHIVE, os.SEEK_END)
            ends_well = not any(file.read())
        with tarfile.open(path, 'r:') as archive:
            for key, kind, place in _members(archive):
                if kind in samples.setdefault(key, {}):
                    problems.append(f'{key}: has two .{kind}')
                samples[key].setdefault(kind, place)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f'shard {path} cannot be read ({error}); fetch it again.') from error
    if not ends_well:
        raise DataError(f'shard {path} is cut off: it lacks the end of a tar file; fetch it again.')
    rows = []
    for key, members in samples.items():
        picture = next((members[kind] for kind in PICTURES if kind in members), None)
        kind = next((kind for kind in CAPTIONS if kind in members), None)
        if picture is None or kind is None:
            problems.append(f'{key}: has no {"picture" if picture is None else "caption"}')
        elif not picture[1] or not members[kind][1]:
            problems.append(f'{key}: its {"caption" if picture[1] else "picture"} is empty')
        else:
            rows.append((*picture, *members[kind], int(kind == 'json')))
    return ShardIndex(np.array(rows, np.int64).reshape(-1, 5), problems)


def _members(archive: Any) -> Iterator[tuple[str, str, tuple[int, int]]]:
    for member in archive:
        found = MEMBER.fullmatch(member.name)
        if member.isreg() and found is not None:
            yield found[1], found[2].lower(), (member.offset_data, member.size)
