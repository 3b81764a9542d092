"""Which files 'cc3m-{00000..00331}.tar' stands for."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlm_dense.errors import ConfigError, MissingFileError

BRACES = re.compile(r'\{([^{}]*)\}')
RANGE = re.compile(r'(\d+)\.\.(\d+)')


def shard_paths(shards: str | Sequence[str], root: str, remedy: str) -> list[str]:
    """The files of a set, in order.

    Args:
        shards: Names with numbers ('{000..123}', with the zeros of the first number) or choices ('{a,b}') in braces.
        root: Folder of relative names.
        remedy: Last part of the messages.

    Raises:
        ConfigError: If there is no name, one occurs twice, or braces hold neither numbers nor choices.
        MissingFileError: If a file does not exist.
    """
    patterns = [shards] if isinstance(shards, str) else list(shards)
    names = [name for pattern in patterns for name in expand_braces(pattern)]
    paths = [str(Path(root, name)) for name in names]
    if not paths or len(set(paths)) < len(paths):
        problem = 'name a file twice' if paths else 'name no file'
        raise ConfigError(f'the shards {patterns} {problem}; correct them.')
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise MissingFileError(f'{len(missing)} of {len(paths)} shards are not there, such as {missing[0]}; {remedy}')
    return paths


def expand_braces(pattern: str) -> Iterator[str]:
    """Every name that a pattern stands for, the last braces counting fastest.

    Raises:
        ConfigError: If braces hold neither numbers nor choices.
    """
    found = BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    numbers = RANGE.fullmatch(found[1])
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        step = 1 if first <= last else -1
        choices = [f'{number:0{len(numbers[1])}d}' for number in range(first, last + step, step)]
    elif ',' in found[1]:
        choices = found[1].split(',')
    else:
        raise ConfigError(f"'{found[0]}' in '{pattern}' is neither a range nor a choice; write '{{000..123}}'.")
    for choice in choices:
        yield from expand_braces(pattern[: found.start()] + choice + pattern[found.end() :])
