"""A projection that starts where a vision-language model's own embedding already is."""

from pathlib import Path

import torch
from mmengine.model import BaseModule
from safetensors.torch import load_file
from torch import Tensor, nn

from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.registry import MODELS


@MODELS.register_module()
class CenteredProjection(BaseModule):
    """Subtract a fixed mean feature, then a linear layer that starts as the identity.

    Meant for heads whose RoI features already live in the embedding space of the image tower: training
    then starts from the tower's own embedding (feature minus mean) and moves away from it only as far as
    the losses ask. It is our addition for small training budgets; no paper's head does this.

    Args:
        in_features: Width of the RoI features.
        out_features: Width D of the embeddings; must equal ``in_features``.
        center: safetensors file with mean features, or None for no shift.
        key: Which of the file's vectors to subtract.

    Raises:
        ConfigError: If the widths differ, or the file has no such vector of that width.
        MissingFileError: If the file does not exist.
    """

    def __init__(self, in_features: int, out_features: int, center: str | None = None, key: str = 'map16') -> None:
        super().__init__()
        if in_features != out_features:
            raise ConfigError(
                f'CenteredProjection starts as the identity, but {in_features} features become {out_features}; '
                "make them equal or use dict(type='Linear')."
            )
        self.linear = nn.Linear(in_features, out_features)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer('center_D', read_center(center, key, in_features))

    def init_weights(self) -> None:
        """Keep the identity: the start values are the point of this layer."""
        self._is_init = True

    def forward(self, features_ND: Tensor) -> Tensor:
        """Embeddings (N, D), not normalised."""
        return self.linear(features_ND - self.center_D)


def read_center(path: str | None, key: str, width: int) -> Tensor:
    """Mean feature of shape (width,), zeros where no file is named."""
    if path is None:
        return torch.zeros(width)
    if not Path(path).is_file():
        raise MissingFileError(
            f"the mean features '{path}' do not exist; compose the pictures first (`make pictures`)."
        )
    vectors = load_file(path)
    if key not in vectors or vectors[key].shape != (width,):
        raise ConfigError(f"'{path}' holds no vector '{key}' of width {width}; it has {sorted(vectors)}.")
    return vectors[key].float()
