"""Configs that lie in the folder of a file of weights."""

import json
from pathlib import Path
from typing import Any

from vlm_dense.errors import CheckpointError


def json_beside(path: Path, name: str) -> dict[str, Any] | None:
    """The JSON object in a file beside the weights, or None where there is no such file.

    Raises:
        CheckpointError: If it is damaged.
    """
    file = path.parent / name
    return parse_object(file.read_text(encoding='utf-8'), f"'{file}'") if file.is_file() else None


def parse_object(text: str, place: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: If the text is none.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f'{place} holds damaged JSON ({error}). Copy it again.') from error
    if not isinstance(parsed, dict):
        raise CheckpointError(f'{place} holds a {type(parsed).__name__} where an object is expected. Copy it again.')
    return parsed
