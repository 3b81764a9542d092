"""open_clip models from weights that are on this machine, or that the user lets be fetched.

open_clip downloads what it lacks; here a missing file is an error that lists the places searched. Both halves of a
model, the text encoder and the image tower, load through this module.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.checkpoints.filling import Half, check_heads, fill_open_clip
from vlm_dense.checkpoints.finding import find, find_weights, search, weight_folders
from vlm_dense.checkpoints.folders import weights_in
from vlm_dense.checkpoints.hub import HubFolder
from vlm_dense.checkpoints.openai_archive import is_openai_archive
from vlm_dense.checkpoints.preprocessing import Preprocessing, default_preprocessing, preprocessing_beside
from vlm_dense.checkpoints.quick_gelu import Evidence, check_quick_gelu, evidence_in, known_file
from vlm_dense.checkpoints.sharded import weights_sha256
from vlm_dense.checkpoints.specs import HUB_FOLDER, OPEN_CLIP, URLS, wanted_open_clip
from vlm_dense.checkpoints.switches import offline
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError

RANDOM_SEED = 0


@dataclass(frozen=True)
class OpenClipSource:
    """An architecture and the file of its weights; no path means random weights, the same in every process.

    Attributes:
        name: Architecture.
        path: File of weights.
        preprocessing: What belongs to the weights; its size is that of the architecture where they say none.
        evidence: Which activation the weights need, where anything shows it.
    """

    name: str
    path: Path | None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    evidence: Evidence | None = None

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
        layout = json.dumps([self.config, self.preprocessing.as_settings()], sort_keys=True, default=str)
        weights = weights_sha256(self.path) if self.path else state_dict_sha256(load_open_clip(self))
        return f'open_clip:{self.name}:{hashlib.sha256(layout.encode()).hexdigest()[:16]}:{weights}'


def find_open_clip(name: str, pretrained: str | None) -> OpenClipSource:
    """Resolve an architecture and its weights; see ``find_weights`` for the places and for when it downloads.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint or of a folder with one, a tag, a repository as ``hf:OWNER/REPO``, a file as
            ``hf://OWNER/REPO/FILE``, a URL, or None for random weights.

    Raises:
        ConfigError: If the architecture is unknown.
        MissingFileError: If the weights are not on this machine; the message lists the places searched.
        CheckpointError: If the weights need another activation than the architecture has.
    """
    if pretrained is None and ':' in name:
        name, pretrained = name.split(':', 1)
    config = _model_config(name)
    side = _image_size(config)
    if not pretrained:
        return OpenClipSource(name, None, Preprocessing(size=side))
    settings = _tag_settings(name, pretrained)
    if settings:
        evidence = Evidence(bool(settings['quick_gelu']), f'{pretrained} {name}') if 'quick_gelu' in settings else None
        check_quick_gelu(name, config, evidence)  # before the user is sent to fetch them
        path = find(wanted_open_clip(name, pretrained))
        preprocessing = Preprocessing.from_mapping(settings, f"open_clip's tag '{name}:{pretrained}'")
    else:
        path = _locate(name, pretrained)
        evidence, preprocessing = evidence_in(path), _preprocessing_of(name, path)
        check_quick_gelu(name, config, evidence)
    return OpenClipSource(name, path, replace(preprocessing, size=preprocessing.size or side), evidence)


def load_open_clip(
    source: OpenClipSource, half: Half = 'both', extend: Callable[[nn.Module], None] | None = None
) -> nn.Module:
    """Build a model in float32 on the CPU, in eval mode, with its weights.

    Args:
        source: From ``find_open_clip``.
        half: 'text' or 'image' accepts weights that hold that half only; the other half then stays random.
        extend: Adds parameters to the architecture before its weights are read; a file may hold them, or not.

    Raises:
        CheckpointError: If the file holds other weights, or would run code when read.
        MissingFileError: If a part that the architecture takes from Hugging Face is not cached.
    """
    check_quick_gelu(source.name, source.config, source.evidence)
    model = _build(source)
    published = set(model.state_dict())
    if extend is not None:
        extend(model)
    if source.path is not None:
        try:
            check_heads(source.path, source.config)
            fill_open_clip(model, source.path, half, optional=set(model.state_dict()) - published)
        except (CheckpointError, RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"'{source.path}' does not load as weights of open_clip's '{source.name}': {error} "
                'Give the name that the weights were trained with, and weights of CLIP.'
            ) from error
    return model.eval()


def state_dict_sha256(module: nn.Module) -> str:
    """SHA-256 of a module's named weights, as 64 hex digits."""
    return named_sha256(module.state_dict().items())


def named_sha256(named: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of names, shapes, types and bytes in the order given, as 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in named:
        digest.update(f'{name}{tuple(tensor.shape)}{tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _build(source: OpenClipSource) -> nn.Module:
    import open_clip

    with offline(), _quiet_root_logger(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        try:
            return open_clip.create_model(
                source.name,
                pretrained_text=False,
                force_preprocess_cfg=source.preprocessing.as_settings(),
                text_cfg=_text_config(source.config),
            )
        except OSError as error:
            raise MissingFileError(
                f"open_clip's '{source.name}' needs files that are not in Hugging Face's cache ({error}). "
                f'Fetch them where there is a network, with: vlm-dense fetch {OPEN_CLIP}{source.name}:TAG'
            ) from error


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The text section; where its model is borrowed from a repository that lies in a local folder, with that folder."""
    section = {**config['text_cfg'], 'hf_model_pretrained': False}
    repo = section.get('hf_model_name')
    if repo and not Path(repo).is_dir():
        places = search((HubFolder(repo, with_weights=False),))
        section['hf_model_name'] = next((str(place.path) for place in places if place.path), repo)
    return section


def _tag_settings(name: str, pretrained: str) -> dict[str, Any]:
    """What open_clip knows of a tag; nothing where the word is a path, another form of name, or no tag."""
    import open_clip

    is_tag = not Path(pretrained).expanduser().exists() and not pretrained.startswith((HUB_FOLDER, *URLS))
    return dict(open_clip.get_pretrained_cfg(name, pretrained)) if is_tag else {}


def _locate(name: str, pretrained: str) -> Path:
    """The file of weights that a path, a name in a local folder, a repository or a URL means."""
    path = Path(pretrained).expanduser()
    if not path.exists():
        if pretrained.startswith((HUB_FOLDER, *URLS)):
            path = find_weights(pretrained)
        else:
            local = next((folder / path for folder in weight_folders() if (folder / path).exists()), None)
            path = local or find(wanted_open_clip(name, pretrained))
    return weights_in(path) if path.is_dir() else path


def _preprocessing_of(name: str, path: Path) -> Preprocessing:
    beside = preprocessing_beside(path)
    if beside is not None:
        return beside
    known = known_file(path)
    if known is not None:
        return Preprocessing.from_mapping(known[2], f"open_clip's tag '{known[0]}:{known[1]}'")
    return Preprocessing() if is_openai_archive(path) else default_preprocessing(name, path)


def _image_size(config: dict[str, Any]) -> int | None:
    size = config.get('vision_cfg', {}).get('image_size', 224)
    return size if isinstance(size, int) else (size[0] if size[0] == size[1] else None)


def _model_config(name: str) -> dict[str, Any]:
    import open_clip

    config = open_clip.get_model_config(name) if ':' not in name else None
    if config is None:
        close = get_close_matches(name, open_clip.list_models(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else 'see open_clip.list_models().'
        raise ConfigError(f"open_clip knows no architecture '{name}'; {hint}")
    return dict(config)


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
