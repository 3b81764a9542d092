"""open_clip models from weights that are on this machine.

open_clip downloads what it lacks; here a missing file is an error that lists the places searched. Both halves of a
model, the text encoder and the image tower, load through this module.
"""

import hashlib
import json
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError

URL_CACHE = Path('~/.cache/clip')  # where open_clip keeps weights that it fetched by URL
RANDOM_SEED = 0


@dataclass(frozen=True)
class OpenClipSource:
    """An architecture and the file of its weights; no path means random weights, the same in every process."""

    name: str
    path: Path | None
    tag_settings: dict[str, Any] = field(default_factory=dict)  # preprocessing and quick_gelu of a pretrained tag

    @property
    def config(self) -> dict[str, Any]:
        """open_clip's model config."""
        return _model_config(self.name)

    @property
    def embed_dim(self) -> int:
        """Width of the shared embedding space."""
        return int(self.config['embed_dim'])

    def fingerprint(self) -> str:
        """Names architecture and weights; reads the file once, or builds the model where weights are random."""
        layout = json.dumps([self.config, self.tag_settings], sort_keys=True, default=str)
        weights = file_sha256(self.path) if self.path else state_dict_sha256(load_open_clip(self))
        return f'open_clip:{self.name}:{hashlib.sha256(layout.encode()).hexdigest()[:16]}:{weights}'


def find_open_clip(name: str, pretrained: str | None) -> OpenClipSource:
    """Resolve an architecture and its weights without the network.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint, a tag whose file is in a local cache, or None for random weights.

    Raises:
        ConfigError: If the architecture is unknown.
        MissingFileError: If the weights are not on this machine; the message lists the places searched.
    """
    import open_clip

    if pretrained is None and ':' in name:
        name, pretrained = name.split(':', 1)
    _model_config(name)
    if not pretrained:
        return OpenClipSource(name, None)
    if Path(pretrained).expanduser().is_file():
        return OpenClipSource(name, Path(pretrained).expanduser())
    settings = open_clip.get_pretrained_cfg(name, pretrained)
    if not settings:
        tags = ', '.join(open_clip.list_pretrained_tags_by_model(name)) or 'none'
        raise MissingFileError(
            f"'{pretrained}' is neither a file nor a tag of open_clip's '{name}'. Check the path; the tags are: {tags}."
        )
    kept = ('mean', 'std', 'interpolation', 'resize_mode', 'quick_gelu')
    return OpenClipSource(
        name, _cached_weights(name, pretrained, settings), {k: settings[k] for k in kept if k in settings}
    )


def load_open_clip(source: OpenClipSource) -> nn.Module:
    """Build a model in float32 on the CPU, in eval mode, with its weights.

    Raises:
        CheckpointError: If the file holds other weights or would run code when read.
        MissingFileError: If a part that the architecture takes from Hugging Face is not cached.
    """
    import open_clip

    settings = dict(source.tag_settings)
    quick_gelu = bool(settings.pop('quick_gelu', False))
    path = None if source.path is None else str(source.path)
    with offline(), _quiet_root_logger(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        try:
            model = open_clip.create_model(
                source.name,
                pretrained=path,
                pretrained_text=False,
                force_quick_gelu=quick_gelu,
                force_preprocess_cfg=settings,
            )
        except OSError as error:
            raise MissingFileError(
                f"open_clip's '{source.name}' needs files that are not in Hugging Face's cache ({error}). "
                'Fetch them where there is a network.'
            ) from error
        except (RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"'{path}' does not load as weights of open_clip's '{source.name}': {error}. "
                'Give the name that the weights were trained with, and a plain state dict (TorchScript is not read).'
            ) from error
    return model.eval()


def state_dict_sha256(module: nn.Module) -> str:
    """SHA-256 of a module's named weights, as 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f'{name}{tuple(tensor.shape)}{tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub and transformers from reaching for the network inside the block."""
    import huggingface_hub.constants as hub

    switches: list[tuple[Any, str]] = [(hub, 'HF_HUB_OFFLINE')]
    try:
        import transformers.utils.hub as transformers_hub

        if hasattr(transformers_hub, '_is_offline_mode'):  # transformers 4 keeps a copy of the switch
            switches.append((transformers_hub, '_is_offline_mode'))
    except ImportError:
        pass
    before = [getattr(module, name) for module, name in switches]
    try:
        for module, name in switches:
            setattr(module, name, True)
        yield
    finally:
        for (module, name), value in zip(switches, before, strict=True):
            setattr(module, name, value)


def _model_config(name: str) -> dict[str, Any]:
    import open_clip

    config = open_clip.get_model_config(name) if ':' not in name else None
    if config is None:
        close = get_close_matches(name, open_clip.list_models(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else 'see open_clip.list_models().'
        raise ConfigError(f"open_clip knows no architecture '{name}'; {hint}")
    return dict(config)


def _cached_weights(name: str, tag: str, settings: dict[str, Any]) -> Path:
    places = []
    if settings.get('hf_hub'):
        from huggingface_hub import constants, try_to_load_from_cache

        repo, _, filename = settings['hf_hub'].rpartition('/')
        for candidate in _hub_filenames(filename):
            found = try_to_load_from_cache(repo, candidate)
            if isinstance(found, str):
                return Path(found)
        places.append(f"{repo} in Hugging Face's cache '{constants.HF_HUB_CACHE}'")
    if settings.get('url'):
        path = URL_CACHE.expanduser() / settings['url'].rsplit('/', 1)[-1]
        if path.is_file() and _matches_url_checksum(path, settings['url']):
            return path
        places.append(f"'{path}'" + (' (damaged: its checksum is wrong)' if path.is_file() else ''))
    raise MissingFileError(
        f"the weights '{tag}' of open_clip's '{name}' are not on this machine. Searched: {'; '.join(places)}. "
        'Fetch them where there is a network, or give the path of the file instead of the tag.'
    )


def _hub_filenames(filename: str) -> list[str]:
    if not filename:
        return ['open_clip_model.safetensors', 'open_clip_pytorch_model.bin']
    stem, _, ending = filename.rpartition('.')
    return [f'{stem}.safetensors', filename] if ending in ('bin', 'pth', 'pt') else [filename]


def _matches_url_checksum(path: Path, url: str) -> bool:
    """OpenAI's URLs hold the SHA-256 as a folder, mlfoundations' its first digits at the end of the file's stem."""
    if 'openaipublic' in url:
        return file_sha256(path) == url.split('/')[-2]
    if 'mlfoundations' in url:
        return file_sha256(path).startswith(path.stem.rsplit('-', 1)[-1])
    return True


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    # open_clip logs through the root logger, which would also install a handler on it.
    root = logging.getLogger()
    handler, level = logging.NullHandler(), root.level
    root.addHandler(handler)
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
