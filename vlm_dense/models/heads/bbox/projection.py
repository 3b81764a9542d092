"""A projection that starts where the image tower's own embedding already is."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS


@MODELS.register_module()
class IdentityProjection(BaseModule):
    """A linear layer that starts as the identity.

    Meant for heads whose RoI features already live in the shared space (`TowerTail` with ``centered=True``):
    training then starts from the tower's own embedding and leaves it only as far as the losses ask. It is our
    addition for small training budgets; ViLD's projection starts at random.

    Args:
        in_features: Width of the RoI features.
        out_features: Width D of the embeddings; must equal ``in_features``.

    Raises:
        ConfigError: If the widths differ.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        if in_features != out_features:
            raise ConfigError(
                f'IdentityProjection starts as the identity, but {in_features} features become {out_features}; '
                "make them equal or use dict(type='Linear')."
            )
        self.linear = nn.Linear(in_features, out_features)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features_ND: Tensor) -> Tensor:
        """Embeddings (N, D), not normalised."""
        return self.linear(features_ND)
