"""Files with a record per line, of which one line at a time is in memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vlm_dense.errors import DataError, MissingFileError

CHUNK = 1 << 24
NEWLINE = ord('\n')


def line_starts(path: str, remedy: str) -> np.ndarray:
    """Where the lines of a file begin, in bytes; empty lines are left out. The file is read once, in pieces.

    Args:
        path: A local file.
        remedy: Last part of the messages.

    Returns:
        (N,) int64.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it has no line.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'annotation file {path} does not exist; {remedy}')
    ends, size = [], 0
    with Path(path).open('rb') as file:
        while chunk := file.read(CHUNK):
            ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == NEWLINE) + size)
            size += len(chunk)
    breaks = np.concatenate(ends) if ends else np.empty(0, np.int64)
    starts = np.concatenate([[0], breaks + 1]).astype(np.int64)
    # '\n' and '\r\n' alone are empty lines.
    lengths = np.diff(np.append(starts, size))
    starts = starts[lengths > len('\r\n')]
    if not len(starts):
        raise DataError(f'annotation file {path} is empty; {remedy}')
    return starts


def read_line(path: str, start: int, remedy: str) -> dict[str, Any]:
    """The record of the line that begins at a byte.

    Raises:
        MissingFileError: If the file is gone.
        DataError: If the line holds no json object; the message counts lines from 1.
    """
    try:
        # Opened every time: nothing is shared between processes, and a data set stays picklable.
        with Path(path).open('rb') as file:
            file.seek(start)
            record = json.loads(file.readline())
    except FileNotFoundError as error:
        raise MissingFileError(f'annotation file {path} does not exist; {remedy}') from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{place_of(path, start)}: is not json ({error}); {remedy}') from error
    if not isinstance(record, dict):
        raise DataError(f'{place_of(path, start)}: holds {type(record).__name__}, not an object; {remedy}')
    return record


def place_of(path: str, start: int) -> str:
    """A line in a message, counted from 1."""
    number, left = 1, start
    with Path(path).open('rb') as file:
        while left and (chunk := file.read(min(CHUNK, left))):
            number += chunk.count(b'\n')
            left -= len(chunk)
    return f'{path}, line {number}'
