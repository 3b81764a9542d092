"""Layers between RoI features and the predictions of a region."""

from itertools import pairwise
from typing import Literal

from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError


class RegionTrunk(BaseModule):
    """3 x 3 convolutions, then fully connected layers; each is followed by an optional norm and ReLU.

    mmdet's ``ConvFCBBoxHead`` has no norm after its fully connected layers and only one trunk, so it
    cannot hold the head of ViLD's release (arXiv:2104.13921: 4 convolutions and 2 layers of 1024,
    batch norm after each, and a second independent copy for distillation).

    Args:
        in_channels: Channels C of the RoI features.
        roi_size: Side r of the RoI features in cells.
        num_convs: Number of convolutions, zero padded.
        num_fcs: Number of fully connected layers.
        conv_channels: Width of the convolutions.
        fc_channels: Width of the fully connected layers.
        norm_cfg: mm norm layer ('BN', 'SyncBN', 'GN') after every layer, or None.
        pool: Without fully connected layers: 'average' over the cells, or 'flatten' them.
    """

    def __init__(
        self,
        in_channels: int,
        roi_size: int,
        num_convs: int = 0,
        num_fcs: int = 0,
        conv_channels: int = 256,
        fc_channels: int = 1024,
        norm_cfg: dict | None = None,
        pool: Literal['average', 'flatten'] = 'average',
    ) -> None:
        super().__init__()
        if pool not in ('average', 'flatten'):
            raise ConfigError(f"RegionTrunk: pool={pool!r}; choose 'average' or 'flatten'.")
        widths = [in_channels] + [conv_channels] * num_convs
        self.convs = nn.ModuleList(
            ConvModule(before, after, 3, padding=1, norm_cfg=norm_cfg) for before, after in pairwise(widths)
        )
        self.flatten = num_fcs > 0 or pool == 'flatten'
        flat_width = widths[-1] * roi_size**2 if self.flatten else widths[-1]
        widths = [flat_width] + [fc_channels] * num_fcs
        pairs = list(pairwise(widths))
        # A bias in front of a norm has no effect.
        self.fcs = nn.ModuleList(nn.Linear(before, after, bias=norm_cfg is None) for before, after in pairs)
        self.fc_norms = nn.ModuleList(
            nn.Identity() if norm_cfg is None else build_norm_layer(norm_cfg, after)[1] for _, after in pairs
        )
        self.out_channels = widths[-1]

    def forward(self, features_NCrr: Tensor) -> Tensor:
        """Features of shape (N, ``out_channels``)."""
        for conv in self.convs:
            features_NCrr = conv(features_NCrr)
        features_ND = features_NCrr.flatten(1) if self.flatten else features_NCrr.mean((2, 3))
        for fc, norm in zip(self.fcs, self.fc_norms, strict=True):
            # Two unit axes, since mm's 'BN' is the two-dimensional layer.
            features_ND = functional.relu(norm(fc(features_ND)[..., None, None]).flatten(1))
        return features_ND
