"""EfficientNet-Lite0 trained on ImageNet, as an image tower."""

from os import PathLike
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vlm_dense.checkpoints.packages import LITE0, LITE0_WEIGHTS, file_sha256, package_version, packaged_file
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.mask_pooling import MaskKind
from vlm_dense.vlms.tower import ImageTower

FEATURE_WIDTH = 1280
PYRAMID_BLOCKS = (1, 2, 4, 6)  # the last block of each resolution: strides 4, 8, 16, 32; 24, 40, 112, 320 channels
FIRST_STRIDED_BLOCK = 5  # halves the map at output stride 32 and is dilated at 16
STRIDES = (16, 32)


@MODELS.register_module()
class ImageNetTower(ImageTower):
    """The picture half of "ImageNet classifier + sentence encoder"; the text half is `BridgedTextEncoder`.

    EfficientNet-Lite0 (EfficientNet, arXiv:1905.11946, without squeeze-excitation and with ReLU6) from a PyPI
    package, on timm's ``tf_efficientnet_lite0``. A picture is its feature before the classifier, less the mean
    feature of training pictures, at unit length. Read-outs differ in their mean, so ``center`` holds one for each.

    Args:
        center: A safetensors file with the vectors 'crop', 'map16' and 'map32' of 1280 entries, as `mean_features`
            computes them, or None to subtract nothing.
        output_stride: 32, or 16 to dilate the last two stages, which gives finer maps from the same weights.
            `embed_images` then pools the dilated map too; take 32 for whole pictures and crops.

    Raises:
        ConfigError: If ``output_stride`` is neither 16 nor 32.
        CheckpointError: If the package's weights do not fit or ``center`` holds something else.
        MissingFileError: If the package or ``center`` is not on this machine.
    """

    embed_dim = FEATURE_WIDTH
    mean = (127.5, 127.5, 127.5)
    std = (127.5, 127.5, 127.5)
    input_size = 224

    center_crop: Tensor
    center_map: Tensor

    def __init__(self, center: str | PathLike[str] | None = None, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in STRIDES:
            raise ConfigError(f'output_stride={output_stride} of ImageNetTower: write 16 or 32.')
        self.output_stride = output_stride
        self.trunk: Any = _load_trunk(output_stride)
        centers = _read_center(center)
        self._center_sha256 = 'none' if center is None else file_sha256(Path(center).expanduser())
        # Not in the state dict: a checkpoint must not depend on where the means came from.
        self.register_buffer('center_crop', centers['crop'], persistent=False)
        self.register_buffer('center_map', centers[f'map{output_stride}'], persistent=False)

    @property
    def fingerprint(self) -> str:
        """Package version, SHA-256 of weights and means, and the stride."""
        weights = file_sha256(packaged_file(LITE0, LITE0_WEIGHTS))
        return f'{LITE0}:{package_version(LITE0)}:{weights}:stride{self.output_stride}:center-{self._center_sha256}'

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Stage maps of 24, 40, 112 and 320 channels at strides 4, 8, 16 and `output_stride`."""
        x = self._stem(images_B3HW)
        maps = []
        for number, block in enumerate(self.trunk.blocks):
            x = block(x)
            if number in PYRAMID_BLOCKS:
                maps.append(x)
        return tuple(maps)

    def features(self, images_B3HW: Tensor) -> Tensor:
        """The (B, 1280, h, w) map before pooling, raw: no mean subtracted, any length."""
        return self.late_features(self.early_features(images_B3HW))

    def early_features(self, images_B3HW: Tensor) -> Tensor:
        """The part of `features` that does not depend on the output stride: (B, 112, H/16, W/16)."""
        return self.trunk.blocks[:FIRST_STRIDED_BLOCK](self._stem(images_B3HW))

    def _stem(self, images_B3HW: Tensor) -> Tensor:
        # Depthwise convolutions are a quarter faster on CPUs when the channels of a pixel lie together.
        images_B3HW = images_B3HW.contiguous(memory_format=torch.channels_last)
        return self.trunk.bn1(self.trunk.conv_stem(images_B3HW))

    def late_features(self, early_BChw: Tensor) -> Tensor:
        """The rest of `features`."""
        return self.trunk.bn2(self.trunk.conv_head(self.trunk.blocks[FIRST_STRIDED_BLOCK:](early_BChw)))

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        """Whole pictures to (B, 1280) unit rows."""
        pooled_BD = self.features(images_B3HW).mean(dim=(2, 3))
        return F.normalize(pooled_BD - self.center_crop, dim=-1)

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell to (B, 1280, h, w), unit length along dim 1."""
        return F.normalize(self.features(images_B3HW) - self.center_map[:, None, None], dim=1)

    def tail(self, stage: int = -1) -> nn.Module:
        """The blocks after a map, head convolution, norm and activation; from the last map, 320 to 1280 channels."""
        number = self._checked_stage(stage, len(PYRAMID_BLOCKS))
        later = self.trunk.blocks[PYRAMID_BLOCKS[number] + 1 :]
        return nn.Sequential(*later, self.trunk.conv_head, self.trunk.bn2)

    def embed_regions(self, region_NChw: Tensor, stage: int = -1) -> Tensor:
        """As `ImageTower.embed_regions`, less the mean feature of maps."""
        pooled_ND = self.tail(stage)(region_NChw).mean(dim=(2, 3))
        return F.normalize(pooled_ND - self.center_map, dim=1)

    def _pooled_masks(self, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind) -> tuple[Tensor, Tensor]:
        """As `ImageTower._pooled_masks`, less the mean feature of maps."""
        region_BND, empty_BN = super()._pooled_masks(map_BChw, mask_BNHW, kind)
        return region_BND - self.center_map, empty_BN


def _load_trunk(output_stride: int) -> Any:
    path = packaged_file(LITE0, LITE0_WEIGHTS)
    trunk: Any = timm.create_model('tf_efficientnet_lite0', pretrained=False, output_stride=output_stride)
    target = trunk.state_dict()
    source = torch.load(path, map_location='cpu', weights_only=True)
    # The package names its layers differently and lists them in the same order.
    fits = len(source) == len(target) and all(
        a.shape == b.shape for a, b in zip(source.values(), target.values(), strict=True)
    )
    if not fits:
        raise CheckpointError(f"'{path}' does not hold EfficientNet-Lite0 as expected. Install the package again.")
    trunk.load_state_dict(dict(zip(target, source.values(), strict=True)))
    # The classifier over ImageNet's classes belongs to the text half.
    trunk.reset_classifier(0)
    return trunk.eval().to(memory_format=torch.channels_last)


def _read_center(path: str | PathLike[str] | None) -> dict[str, Tensor]:
    names = ('crop', *(f'map{stride}' for stride in STRIDES))
    if path is None:
        return {name: torch.zeros(FEATURE_WIDTH) for name in names}
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingFileError(
            f"there is no file of mean features '{file}'. "
            'Make it with `python tools/data/compose_pictures.py --vlm-center`, or set center=None.'
        )
    try:
        centers = load_file(str(file))
    except SafetensorError as error:
        raise CheckpointError(f"'{file}' is not a whole safetensors file ({error}). Make it again.") from error
    for name in names:
        if name not in centers or centers[name].shape != (FEATURE_WIDTH,):
            raise CheckpointError(f"'{file}' holds no vector '{name}' of {FEATURE_WIDTH} entries. Make it again.")
    return {name: centers[name].float() for name in names}
