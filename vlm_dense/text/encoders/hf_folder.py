"""Folders of Hugging Face text models, and what sentence-transformers writes beside them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_dense.checkpoints.finding import find_weights
from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError

POOLINGS = ('mean', 'cls', 'pooler')
KNOWN_MODULES = ('Transformer', 'Pooling', 'Normalize')
POOLING_SWITCHES = {'pooling_mode_mean_tokens': 'mean', 'pooling_mode_cls_token': 'cls'}
HASHED = ('config.json', 'tokenizer.json', 'tokenizer_config.json', 'vocab.txt', 'sentencepiece.bpe.model')
WEIGHTS = ('*.safetensors', 'pytorch_model*.bin')


@dataclass(frozen=True)
class SentenceSettings:
    """How a model turns a text into a sentence vector; None where its folder says nothing."""

    folder: Path  # of the transformer itself
    pooling: str | None = None
    max_tokens: int | None = None
    lower_case: bool = False
    unit_length: bool = False  # the model itself ends by normalising


def find_hf_folder(model: str | Path) -> Path:
    """A local folder, or a repository's folder as `vlm_dense.checkpoints.find_weights` finds it.

    Raises:
        MissingFileError: If it is nowhere; the message lists the places searched.
        ConfigError: If it is no folder.
    """
    folder = find_weights(model)
    if not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file. Give the folder of a text model, with its config.json.")
    return folder


def read_sentence_settings(folder: Path) -> SentenceSettings:
    """Read ``modules.json`` and what it names (the layout of sentence-transformers).

    Raises:
        ConfigError: If the model has a step or a pooling that is not known here.
        CheckpointError: If a file is no JSON of the expected layout.
    """
    if not (folder / 'modules.json').is_file():
        return SentenceSettings(folder)
    modules = {
        str(one['type']).rsplit('.', 1)[-1]: folder / one.get('path', '') for one in _json(folder / 'modules.json')
    }
    unknown = [name for name in modules if name not in KNOWN_MODULES]
    if unknown:
        raise ConfigError(
            f"'{folder}' has a step '{unknown[0]}' that is not known here; the steps are {', '.join(KNOWN_MODULES)}. "
            'Choose another model.'
        )
    inner = modules.get('Transformer', folder)
    lengths = _json(inner / 'sentence_bert_config.json') if (inner / 'sentence_bert_config.json').is_file() else {}
    return SentenceSettings(
        folder=inner,
        pooling=_pooling(modules['Pooling'] / 'config.json') if 'Pooling' in modules else None,
        max_tokens=lengths.get('max_seq_length'),
        lower_case=bool(lengths.get('do_lower_case')),
        unit_length='Normalize' in modules,
    )


def weight_files(folder: Path) -> list[Path]:
    """The files of weights in a model's folder, of one kind; empty where there are none."""
    return next((found for pattern in WEIGHTS if (found := sorted(folder.glob(pattern)))), [])


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 of the weights, the tokenizer and the configuration in a model's folder, joined by colons.

    Raises:
        MissingFileError: If there are no weights.
    """
    weights = weight_files(folder)
    if not weights:
        raise MissingFileError(f"there are no weights in '{folder}'. Put model.safetensors there.")
    named = [folder / name for name in HASHED if (folder / name).is_file()]
    return ':'.join(file_sha256(path) for path in weights + named)


def _pooling(path: Path) -> str:
    settings = _json(path)
    chosen = [name for name, value in settings.items() if name.startswith('pooling_mode_') and value is True]
    if 'pooling_mode' in settings:
        named = settings['pooling_mode']
        chosen = [named] if isinstance(named, str) else list(named)
    found = [POOLING_SWITCHES.get(name, name) for name in chosen]
    if len(found) != 1 or found[0] not in POOLINGS:
        raise ConfigError(
            f"'{path}' asks for the pooling {' + '.join(chosen) or 'nothing'}, which is not known here. "
            f'Name pooling={" or ".join(repr(name) for name in POOLINGS)} yourself, or choose another model.'
        )
    return found[0]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' cannot be read as JSON: {error}. Copy the model's folder again.") from error
