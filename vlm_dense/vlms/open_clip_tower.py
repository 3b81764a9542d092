"""The picture half of any open_clip model."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.tower import ImageTower


@MODELS.register_module()
class OpenClipTower(ImageTower):
    """Pictures to the embedding space of an open_clip model. Weights are looked for on this machine.

    `embed_dense` takes any picture size and gives, for a vision transformer, the last tokens through the final norm and
    projection, with the positional embedding resized bicubically; for CLIP's ResNet, each cell through the value and
    output projections of the attention pooling (MaskCLIP's read-out, arXiv:2112.01071, section 3.2). Trunks from timm
    have no dense read-out here.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint, a tag whose file is in a local cache, or None for random weights that are
            the same in every process.

    Raises:
        ConfigError: If the architecture is unknown.
        MissingFileError: If the weights are not on this machine.
        CheckpointError: If the weights do not fit.
    """

    def __init__(self, name: str, pretrained: str | None = None) -> None:
        super().__init__()
        source = find_open_clip(name, pretrained)
        visual: Any = load_open_clip(source, 'image').visual
        self.visual = visual
        self.embed_dim = source.embed_dim
        preprocessing = visual.preprocess_cfg
        self.mean = _to_pixel_scale(preprocessing['mean'])
        self.std = _to_pixel_scale(preprocessing['std'])
        size = visual.image_size
        self.input_size = int(size[0] if isinstance(size, tuple | list) else size)
        self._source = source

    @property
    def fingerprint(self) -> str:
        """Architecture and SHA-256 of the weights."""
        return self._source.fingerprint()

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        """Pictures of `input_size` to (B, D) unit rows, as ``encode_image(normalize=True)``.

        Raises:
            ConfigError: If the pictures have another size.
        """
        if images_B3HW.shape[2:] != (self.input_size, self.input_size):
            height, width = images_B3HW.shape[2:]
            raise ConfigError(
                f'this tower embeds whole pictures of {self.input_size} x {self.input_size} pixels, not '
                f'{height} x {width}. Resize them, or crop with crop_regions(size={self.input_size}).'
            )
        return F.normalize(self.visual(images_B3HW), dim=-1)

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell to (B, D, h, w), unit length along D; h and w are the sides over the stride, rounded down.

        Raises:
            ConfigError: If the trunk comes from timm or pools by learned queries.
        """
        from open_clip.modified_resnet import ModifiedResNet  # open_clip takes seconds to import
        from open_clip.transformer import VisionTransformer

        if isinstance(self.visual, ModifiedResNet):
            return F.normalize(self._resnet_cells(images_B3HW), dim=1)
        if isinstance(self.visual, VisionTransformer) and self.visual.attn_pool is None:
            return F.normalize(self._transformer_cells(images_B3HW), dim=1)
        raise ConfigError(
            f"'{self._source.name}' has no dense read-out here. "
            "Take a model with a plain vision transformer or CLIP's ResNet."
        )

    def _resnet_cells(self, images_B3HW: Tensor) -> Tensor:
        visual: Any = self.visual
        pool = visual.attnpool
        x = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images_B3HW)))))
        cells_BhwC = x.permute(0, 2, 3, 1)
        return pool.c_proj(pool.v_proj(cells_BhwC)).permute(0, 3, 1, 2)

    def _transformer_cells(self, images_B3HW: Tensor) -> Tensor:
        visual: Any = self.visual
        patches_BChw = visual.conv1(images_B3HW)
        grid = patches_BChw.shape[2:]
        tokens_BLC = patches_BChw.flatten(2).transpose(1, 2)
        start_B1C = visual.class_embedding.to(tokens_BLC.dtype).expand(len(tokens_BLC), 1, -1)
        tokens_BLC = torch.cat([start_B1C, tokens_BLC], dim=1)
        tokens_BLC = visual.ln_pre(tokens_BLC + self._positions(grid).to(tokens_BLC.dtype))
        cells_BLC = visual.ln_post(visual.transformer(tokens_BLC))[:, 1:]
        if visual.proj is not None:
            cells_BLC = cells_BLC @ visual.proj
        return cells_BLC.transpose(1, 2).unflatten(2, grid)

    def _positions(self, grid: torch.Size) -> Tensor:
        """Positional embeddings for a grid of h x w patches, the class token's first: (1 + h w, C)."""
        visual: Any = self.visual
        positions = visual.positional_embedding
        if tuple(grid) == tuple(visual.grid_size):
            return positions
        cells_1Chw = positions[1:].T.unflatten(1, visual.grid_size)[None]
        resized_1Chw = F.interpolate(cells_1Chw, size=tuple(grid), mode='bicubic', antialias=True, align_corners=False)
        return torch.cat([positions[:1], resized_1Chw[0].flatten(1).T])


def _to_pixel_scale(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (255.0 * value for value in values)
    return red, green, blue
