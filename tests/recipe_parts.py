"""What stands in for words, teachers and towers whose weights no package ships."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

CLIP_WIDTH = 512


@MODELS.register_module()
class HashedBank:
    """Unit rows that depend on the word alone, of CLIP ViT-B/32's width."""

    def __init__(self, embed_dim: int = CLIP_WIDTH) -> None:
        self.embed_dim = embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        return functional.normalize(torch.stack([self._vector(word) for word in vocabulary.words]), dim=1)

    def _vector(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], 'big')
        return torch.randn(self.embed_dim, generator=torch.Generator().manual_seed(seed))


@MODELS.register_module()
class NamesBank(HashedBank):
    """A `HashedBank` that also knows the names of words."""

    def rows_of_names(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        names = [(name, row) for row in range(len(vocabulary)) for name in vocabulary.names(row)]
        rows_SD = torch.stack([self._vector(name) for name, _ in names])
        return functional.normalize(rows_SD, dim=1), torch.tensor([row for _, row in names])


@MODELS.register_module()
class OneConvTower(ImageTower):
    """One convolution into CLIP ViT-B/32's width, or another, with cells of ``side`` pixels, always the same."""

    mean = (122.8, 116.7, 104.1)
    std = (68.5, 66.6, 70.3)
    input_size = 32
    fingerprint = 'one convolution'

    def __init__(self, embed_dim: int = CLIP_WIDTH, side: int = 32) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.conv = nn.Conv2d(3, embed_dim, side, stride=side)
        self.conv.weight.data.normal_(std=0.02, generator=torch.Generator().manual_seed(0))
        self.conv.bias.data.zero_()

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        return functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        return (self.conv(images_B3HW),)


@MODELS.register_module()
class HashedEncoder:
    """A text encoder over `HashedBank`'s rows, thrice as long where they need not be of unit length."""

    fingerprint = 'hashed'

    def __init__(self, embed_dim: int = CLIP_WIDTH) -> None:
        self.bank = HashedBank(embed_dim)

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        rows_ND = torch.stack([self.bank._vector(text) for text in texts])
        return functional.normalize(rows_ND, dim=1) * (1 if normalise else 3)


def tiny_clip_vit(blocks: int) -> str:
    """A plain vision transformer known to open_clip, 64 wide, into CLIP ViT-B/16's space."""
    return add_tiny_clip(f'vit-{blocks}', image_size=96, layers=blocks, width=64, patch_size=16)


def tiny_clip_resnet() -> str:
    """A CLIP ResNet known to open_clip with one block in each stage, into CLIP ViT-B/16's space."""
    return add_tiny_clip('resnet', image_size=64, layers=(1, 1, 1, 1), width=16, head_width=32)


def tiny_clip_convnext() -> str:
    """A CLIP ConvNeXt with timm's smallest trunk, whose head has weights, into CLIP ViT-B/16's space."""
    return add_tiny_clip('convnext', timm_model_name='test_convnext', timm_pool='', timm_proj='mlp', image_size=64)


def tiny_clip_text() -> str:
    """A CLIP whose text half reads 32 tokens."""
    return add_tiny_clip('text', context_length=32, image_size=96, layers=1, width=64, patch_size=16)


@cache
def add_tiny_clip(kind: str, context_length: int = 8, **vision: object) -> str:
    """Make open_clip know an architecture that builds in a moment."""
    import open_clip

    text = dict(context_length=context_length, vocab_size=49408, width=32, heads=2, layers=1)
    settings = dict(embed_dim=CLIP_WIDTH, quick_gelu=True, vision_cfg=vision, text_cfg=text)
    name = f'vlm-dense-recipe-{kind}'
    with TemporaryDirectory() as folder:
        Path(folder, f'{name}.json').write_text(json.dumps(settings))
        open_clip.add_model_config(folder)
    return name
