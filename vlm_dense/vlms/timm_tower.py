"""Picture-only trunks of timm, as image towers."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from vlm_dense.checkpoints.coverage import check_coverage, weights_of
from vlm_dense.checkpoints.finding import find_weights
from vlm_dense.checkpoints.folders import weights_in
from vlm_dense.checkpoints.open_clip_models import state_dict_sha256
from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.checkpoints.sharded import weights_sha256
from vlm_dense.errors import CheckpointError, ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.positions import INTERPOLATIONS, Interpolation
from vlm_dense.vlms.taps import check_taps, default_taps, read_taps
from vlm_dense.vlms.timm_trunk import stage_numbers, trunk_maps
from vlm_dense.vlms.timm_vit import is_timm_vit, tapped_tokens
from vlm_dense.vlms.tower import ImageTower, pixel_scale

RANDOM_SEED = 0


@MODELS.register_module()
class TimmTower(ImageTower):
    """Maps of a network that was trained without words: DINO, DINOv2, an ImageNet classifier, ConvNeXt.

    It shares no space with words, so it has no ``embed_dim`` and embeds neither pictures nor cells. Pictures may have
    any size. What comes after the last map (later blocks, final norm, classifier) is left out; parameters keep timm's
    names, under ``trunk``.

    Args:
        name: As in ``timm.list_models()``, with a tag or without: 'vit_base_patch8_224.dino'. The tag tells mean and
            standard deviation of the pictures, and their size; it loads nothing.
        pretrained: Path of a checkpoint in timm's names, or another form that `find_weights` takes; None for random
            weights that are the same in every process. A classifier in it is not used.
        taps: After which blocks of a vision transformer `pyramid` takes its maps, counted from 0; None takes four
            evenly spaced ones that end with the last.
        interpolation: How positional embeddings are resized, 'bicubic' or 'bilinear'.

    Raises:
        ConfigError: If timm knows no such name, if the network is neither a plain vision transformer nor one with
            maps at strides 4, 8, 16 and 32, or if it lacks the taps.
        MissingFileError: If the weights are not on this machine.
        CheckpointError: If the weights do not fit.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        taps: Sequence[int] | None = None,
        interpolation: Interpolation = 'bicubic',
    ) -> None:
        super().__init__()
        if interpolation not in INTERPOLATIONS:
            raise ConfigError(f"interpolation='{interpolation}' of TimmTower: write 'bicubic' or 'bilinear'.")
        trunk = _build(name)
        self.name = name
        self.interpolation = interpolation
        self._is_vit = is_timm_vit(trunk)
        last_maps = self._checked_maps(trunk, taps)
        self.taps = last_maps if self._is_vit else None
        self._path = None if pretrained is None else _found(pretrained)
        if self._path is not None:
            _fill(trunk, name, self._path)
        trunk.prune_intermediate_layers(sorted(set(last_maps)), prune_norm=True, prune_head=True)
        trunk.head = nn.Identity()  # Before 1.0.31, timm leaves ConvNeXt's last norm there.
        self.trunk: Any = trunk.eval()
        self.mean = pixel_scale(trunk.pretrained_cfg['mean'])
        self.std = pixel_scale(trunk.pretrained_cfg['std'])
        self.input_size = int(trunk.pretrained_cfg['input_size'][-1])

    @property
    def fingerprint(self) -> str:
        """Name, SHA-256 of the weights, taps, and the interpolation where it is not the usual one."""
        weights = weights_sha256(self._path) if self._path else state_dict_sha256(self.trunk)
        taps = '' if self.taps is None else f':taps-{self.taps}'
        return f'timm:{self.name}:{weights}{taps}' + (
            '' if self.interpolation == 'bicubic' else f':{self.interpolation}'
        )

    @property
    def blocks(self) -> Any:
        """As `ImageTower.blocks`."""
        return self.trunk.blocks if self._is_vit else None

    @property
    def prefix_tokens(self) -> int:
        """As `ImageTower.prefix_tokens`."""
        return self.trunk.num_prefix_tokens if self._is_vit else 0

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Raw maps: stages at strides 4, 8, 16 and 32, or a transformer's taps, all at the stride of its patch.

        Raises:
            ConfigError: If a picture is smaller than one cell.
        """
        if self.taps is None:
            return trunk_maps(self.trunk, images_B3HW)
        return tuple(map_BChw for map_BChw, _ in self._tapped(images_B3HW, self.taps))

    def class_token_pyramid(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """A transformer's taps, each with the class token (B, C) of the same block.

        Raises:
            ConfigError: If the trunk has no class token, or a picture is smaller than one patch.
        """
        if self.taps is None or self.trunk.cls_token is None:
            raise ConfigError(f"timm's '{self.name}' has no class token. Take the maps alone.")
        return tuple((map_BChw, prefix_BPC[:, 0]) for map_BChw, prefix_BPC in self._tapped(images_B3HW, self.taps))

    def _tapped(self, images_B3HW: Tensor, taps: Sequence[int]) -> tuple[tuple[Tensor, Tensor], ...]:
        run = partial(tapped_tokens, self.trunk, images_B3HW, interpolation=self.interpolation)
        return read_taps(run, taps, self.prefix_tokens)

    def _checked_maps(self, trunk: Any, taps: Sequence[int] | None) -> tuple[int, ...]:
        """Numbers of the blocks or stages that are read."""
        if self._is_vit:
            if taps is None:
                return default_taps(len(trunk.blocks))
            check_taps(taps, len(trunk.blocks), 'TimmTower')
            return tuple(taps)
        stages = stage_numbers(trunk)
        if stages is None:
            raise ConfigError(
                f"timm's '{self.name}' has no maps of pictures of any size here. Take a plain vision transformer, or a "
                'convolutional network with maps at strides 4, 8, 16 and 32.'
            )
        if taps is not None:
            raise ConfigError(f"taps of TimmTower: '{self.name}' has no blocks to tap. Leave them out.")
        return stages


def _build(name: str) -> Any:
    """The whole network but its classifier, with random weights."""
    known = timm.list_models(), timm.list_models(pretrained=True)
    if name not in known[0] and name not in known[1]:
        close = get_close_matches(name, known['.' in name], n=1)
        hint = f"did you mean '{close[0]}'?" if close else 'see timm.list_models().'
        raise ConfigError(f"timm knows no network '{name}'; {hint}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return timm.create_model(name, pretrained=False, num_classes=0)


def _found(pretrained: str) -> Path:
    path = find_weights(pretrained)
    return weights_in(path) if path.is_dir() else path


def _fill(trunk: Any, name: str, path: Path) -> None:
    classifier = trunk.pretrained_cfg.get('classifier') or ()
    layers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    unused = tuple(f'{layer}.' for layer in layers)
    weights = {key: w for key, w in weights_of(read_checkpoint(path, 'cpu')).items() if not key.startswith(unused)}
    coverage = check_coverage(trunk.state_dict(), weights, f"'{path}'")
    if not coverage.is_complete or coverage.unexpected:
        raise CheckpointError(
            f"'{path}' does not load as weights of timm's '{name}': {coverage}. "
            'Give the name that the weights were trained with, and weights in the names of timm.'
        )
    trunk.load_state_dict(weights)
