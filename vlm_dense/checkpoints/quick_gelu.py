"""Which activation weights were trained with. With the other one a model runs and is a few points worse."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlm_dense.checkpoints.beside import json_beside
from vlm_dense.checkpoints.openai_archive import is_openai_archive
from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.checkpoints.reading import SAFETENSORS, safetensors_metadata
from vlm_dense.checkpoints.urls import UrlFile
from vlm_dense.errors import CheckpointError

NAMES = {True: 'QuickGELU', False: 'GELU'}
ACTIVATIONS = {'quick_gelu': True, 'gelu': False}
SUFFIX = '-quickgelu'
OPEN_CLIP_CONFIG = 'open_clip_config.json'
HF_CONFIG = 'config.json'
HF_TOWERS = {'clip_text_model': 'text', 'clip_vision_model': 'vision'}
HF_TYPES = ('clip', *HF_TOWERS)
HF_DEFAULT = 'quick_gelu'  # of transformers' CLIP configs, which leave defaults out


@dataclass(frozen=True)
class Evidence:
    """What shows that weights need an activation.

    Attributes:
        quick_gelu: Whether they need QuickGELU.
        found: What shows it.
    """

    quick_gelu: bool
    found: str


def evidence_in(path: Path) -> Evidence | None:
    """What a file, and the configs beside it, show; None where nothing does.

    Raises:
        CheckpointError: If two of them contradict each other, or name another activation.
    """
    found = [evidence for look in (_in_file, _in_open_clip_config, _in_hf_config) if (evidence := look(path))]
    if len({evidence.quick_gelu for evidence in found}) > 1:
        texts = ' but '.join(f'{NAMES[evidence.quick_gelu]} by {evidence.found}' for evidence in found)
        raise CheckpointError(f"'{path}' needs {texts}. Keep the weights apart from configs of other models.")
    return found[0] if found else None


def check_quick_gelu(name: str, config: Mapping[str, Any], evidence: Evidence | None) -> None:
    """Refuse weights for another activation than the architecture has.

    Args:
        name: open_clip's name of the architecture.
        config: Its config.
        evidence: Of the weights; with None the name decides.

    Raises:
        CheckpointError: If the two differ; the message names the architecture that fits.
    """
    asked = bool(config.get('quick_gelu', False))
    if evidence is None or evidence.quick_gelu == asked:
        return
    raise CheckpointError(
        f'weights need {NAMES[evidence.quick_gelu]} (found {evidence.found}) but the config of '
        f"'{name}' asks for {NAMES[asked]}. {_remedy(name, evidence.quick_gelu)}"
    )


def known_file(path: Path) -> tuple[str, str, dict[str, Any]] | None:
    """Architecture, tag and settings of a file that open_clip's table knows by its SHA-256."""
    digest = file_sha256(path)
    return next((entry for checksum, entry in _checksums().items() if digest.startswith(checksum)), None)


@lru_cache(maxsize=1)
def _checksums() -> dict[str, tuple[str, str, dict[str, Any]]]:
    import open_clip

    table: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for name, tag in open_clip.list_pretrained():
        settings = open_clip.get_pretrained_cfg(name, tag)
        checksum = UrlFile(settings.get('url') or 'none').checksum
        if checksum:
            table.setdefault(checksum, (name, tag, settings))
    return table


def _in_file(path: Path) -> Evidence | None:
    if path.suffix == SAFETENSORS and (written := safetensors_metadata(path).get('quick_gelu')):
        return Evidence(written.lower() in ('1', 'true'), f"in the metadata of '{path}'")
    known = known_file(path)
    if known and 'quick_gelu' in known[2]:
        return Evidence(bool(known[2]['quick_gelu']), f'{known[1]} {known[0]} by its SHA-256')
    if is_openai_archive(path):
        return Evidence(True, 'an archive of OpenAI')
    return None


def _in_open_clip_config(path: Path) -> Evidence | None:
    config = json_beside(path, OPEN_CLIP_CONFIG)
    if not config:
        return None
    model = config.get('model_cfg', config)
    return Evidence(bool(model.get('quick_gelu', False)), f"in '{path.parent / OPEN_CLIP_CONFIG}'")


def _in_hf_config(path: Path) -> Evidence | None:
    config = json_beside(path, HF_CONFIG) or {}
    if config.get('model_type') not in HF_TYPES:
        return None
    place = f"'{path.parent / HF_CONFIG}'"
    activations = {section.get('hidden_act', HF_DEFAULT) for section in clip_sections(config).values()}
    if len(activations) > 1 or not activations <= set(ACTIVATIONS):
        raise CheckpointError(f'{place} asks for {sorted(activations)}; open_clip has one of {sorted(ACTIVATIONS)}.')
    return Evidence(ACTIVATIONS[activations.pop()], f'in {place}')


def clip_sections(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The 'text' and 'vision' sections of a config of transformers' CLIP, or the one of a single tower."""
    if config.get('model_type') in HF_TOWERS:
        return {HF_TOWERS[config['model_type']]: dict(config)}
    # Where an old file has both, the '_dict' is what transformers takes.
    return {
        kind: {**config.get(f'{kind}_config', {}), **(config.get(f'{kind}_config_dict') or {})}
        for kind in HF_TOWERS.values()
    }


def _remedy(name: str, needs_quick_gelu: bool) -> str:
    import open_clip

    other = f'{name}{SUFFIX}' if needs_quick_gelu else name.removesuffix(SUFFIX)
    if other != name and other in open_clip.list_models():
        return f"Use name='{other}'."
    wish = 'true' if needs_quick_gelu else 'false'
    return f"Register a copy of its config with 'quick_gelu': {wish} through open_clip.add_model_config."
