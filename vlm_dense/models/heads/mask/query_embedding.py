"""From the queries of a mask decoder to embeddings that words can be compared with.

Shapes: B pictures, N queries, C query width, D width of the words, P channels of the mask features, h w cells.
"""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.mask_pooling import mask_weights, weighted_means


class QueryEmbedding(BaseModule):
    """Linear layers with ReLU between them, all but the last of the queries' own width.

    One layer is ZegFormer's (arXiv:2112.07910), two are those of ZSSeg (arXiv:2112.14757) and OVSeg
    (arXiv:2210.04150), and three after pooling are FC-CLIP's (arXiv:2308.02487).

    Args:
        in_channels: C.
        embed_dim: D.
        num_layers: At least 1.
        pooled_channels: P; the mean of the mask features inside each mask is normalised, projected and added to the
            query. None looks at the queries alone.

    Raises:
        ConfigError: If there is no layer.
    """

    def __init__(
        self, in_channels: int, embed_dim: int, num_layers: int = 2, pooled_channels: int | None = None
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ConfigError(f'query_embedding: num_layers={num_layers}; give at least 1.')
        layers: list[nn.Module] = []
        for _ in range(num_layers - 1):
            layers += [nn.Linear(in_channels, in_channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(in_channels, embed_dim))
        self.pooled = None
        if pooled_channels is not None:
            self.pooled = nn.Sequential(nn.LayerNorm(pooled_channels), nn.Linear(pooled_channels, in_channels))

    def forward(self, query_BNC: Tensor, mask_BNhw: Tensor, features_BPhw: Tensor) -> Tensor:
        """Embeddings (B, N, D), not normalised.

        Args:
            query_BNC: After the decoder's last normalisation.
            mask_BNhw: Mask logits of these queries; gradient does not go through them.
            features_BPhw: Mask features. Both are only read where there is pooling.
        """
        if self.pooled is not None:
            query_BNC = query_BNC + self.pooled(hard_means(features_BPhw, mask_BNhw.detach()))
        return self.layers(query_BNC)


def hard_means(features_BPhw: Tensor, mask_BNhw: Tensor) -> Tensor:
    """The mean of a map where mask logits are above 0, (B, N, P), and 0 where a mask is empty.

    In float32 even under autocast: half precision cannot count the cells of a large mask.
    """
    with torch.autocast(features_BPhw.device.type, enabled=False):
        weight_BNhw, empty_BN = mask_weights(mask_BNhw.float(), features_BPhw.float())
        return weighted_means(features_BPhw.float(), weight_BNhw).masked_fill(empty_BN[..., None], 0)
