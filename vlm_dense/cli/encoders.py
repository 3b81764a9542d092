"""Encoders named on a command line."""

from typing import Any

from vlm_dense.errors import ConfigError

PAIR = 'pair'
ENCODERS = "'pair' (ImageNet classifier + sentence encoder), 'open_clip:NAME[:PRETRAINED]' or 'hf:FOLDER_OR_NAME'"


def encoder_config(spec: str) -> dict[str, Any]:
    """Config of the text encoder that ``spec`` names.

    Raises:
        ConfigError: If it names none.
    """
    kind, _, rest = spec.partition(':')
    if spec == PAIR:
        return dict(type='vlm_dense.BridgedTextEncoder')
    if kind == 'open_clip' and rest:
        return dict(type='vlm_dense.OpenClipTextEncoder', name=rest)
    if kind == 'hf' and rest:
        return dict(type='vlm_dense.HFTextEncoder', model=rest)
    raise ConfigError(f"--encoder '{spec}' is not known; write {ENCODERS}.")


def tower_config(spec: str) -> dict[str, Any] | None:
    """Config of the image tower that belongs to the encoder, or None where it has none."""
    kind, _, rest = spec.partition(':')
    if spec == PAIR:
        return dict(type='vlm_dense.ImageNetTower')
    return dict(type='vlm_dense.OpenClipTower', name=rest) if kind == 'open_clip' else None
