"""Figures in percent, and the file that lists them word by word."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm_dense.errors import StorageError
from vlm_dense.folders import whole_file
from vlm_dense.text.vocabulary import Vocabulary


def mean_percent(values_K: np.ndarray) -> float:
    """The mean of the defined values (0..1) in percent, NaN if none is defined."""
    defined = values_K[~np.isnan(values_K)]
    return float(defined.mean() * 100) if defined.size else math.nan


def harmonic_mean(first: float, second: float) -> float:
    """2ab / (a + b); 0 if both are 0, NaN if one is undefined."""
    total = first + second
    return 0.0 if total == 0 else 2 * first * second / total if not math.isnan(total) else math.nan


def word_rows(
    vocabulary: Vocabulary, columns: Mapping[str, np.ndarray], distractor: Sequence[bool]
) -> list[dict[str, Any]]:
    """One row per word, in the caller's order; undefined figures are None."""
    return [
        dict(
            word=word,
            is_base=bool(vocabulary.is_base[row]),
            distractor=bool(distractor[row]),
            **{name: plain(values_K[row]) for name, values_K in columns.items()},
        )
        for row, word in enumerate(vocabulary.words)
    ]


def write_report(path: str, figures: Mapping[str, float], per_word: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write ``{"figures": ..., "per_word": ...}`` as JSON.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_json(path, dict(figures={name: plain(value) for name, value in figures.items()}, per_word=per_word))


def write_json(path: str, content: Any) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        with whole_file(Path(path)) as part:
            part.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding='utf-8')
    except OSError as error:
        raise StorageError(f'cannot write {path} ({error}); free some space or name another file.') from error


def plain(value: float) -> float | None:
    """A number as JSON has it: None where it is not defined."""
    return None if math.isnan(value) else float(value)
