"""SAN under the names of its authors' release, small."""

from dataclasses import dataclass

import open_clip
import torch
from mmseg.models.decode_heads.san_head import MLPMaskDecoder
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


@dataclass(frozen=True)
class SanSizes:
    """Of CLIP's blocks the side network reads the ``first``, in ``fused`` maps."""

    width: int = 32
    side: int = 24
    out: int = 20
    queries: int = 5
    heads: int = 4
    first: int = 2
    blocks: int = 3
    side_blocks: int = 2
    fused: int = 2
    picture: int = 32
    patch: int = 8
    side_patch: int = 160
    mask_width: int = 8


SMALL = SanSizes()


def clip(sizes: SanSizes) -> tuple[nn.Module, nn.Module]:
    """A small CLIP of open_clip: the picture half, and all of the model."""
    torch.manual_seed(0)
    vision = open_clip.CLIPVisionCfg(
        image_size=sizes.picture,
        patch_size=sizes.patch,
        width=sizes.width,
        layers=sizes.blocks,
        head_width=sizes.width // sizes.heads,
    )
    text = open_clip.CLIPTextCfg(context_length=7, vocab_size=11, width=16, heads=2, layers=2)
    model = open_clip.CLIP(sizes.out, vision, text, quick_gelu=True)
    return model.visual, model


def side_network(sizes: SanSizes) -> nn.Module:
    without = dict(num_classes=0, class_token=False, global_pool='avg', fc_norm=False)
    return VisionTransformer(
        img_size=640,
        patch_size=sizes.side_patch,
        embed_dim=sizes.side,
        depth=sizes.side_blocks,
        num_heads=sizes.heads,
        **without,
    )


def release(sizes: SanSizes = SMALL, first_fused: int = 0) -> tuple[dict[str, Tensor], nn.Module, nn.Module]:
    """Weights under the authors' names, and the modules that they are of."""
    visual, model = clip(sizes)
    side = side_network(sizes)
    weights = {'criterion.empty_weight': torch.ones(3)}
    for name, weight in visual.state_dict().items():
        name = name.replace('transformer.', '')
        if name.startswith('resblocks.'):
            number, part = name.removeprefix('resblocks.').split('.', 1)
            deep = int(number) >= sizes.first
            owner = 'clip_rec_head' if deep else 'clip_visual_extractor'
            name = f'resblocks.{int(number) - sizes.first * deep}.{part}'
        else:
            owner = 'clip_rec_head' if name.startswith(('ln_post', 'proj')) else 'clip_visual_extractor'
        weights[f'{owner}.{name}'] = weight
    others = {name: weight for name, weight in model.state_dict().items() if not name.startswith('visual.')}
    weights |= {f'ov_classifier.{name}': weight for name, weight in others.items()}
    weights['ov_classifier.bg_embed'] = torch.randn(1, sizes.out)
    start = 'side_adapter_network.'
    weights |= {f'{start}vit_model.{n}': w for n, w in side.state_dict().items() if not n.startswith('norm.')}
    weights |= {
        f'{start}{name}': torch.randn(1, sizes.queries, sizes.side) for name in ('query_embed', 'query_pos_embed')
    }
    for number in range(first_fused, first_fused + sizes.fused):
        layer = f'{start}fusion_layers.layer_{number}.input_proj'
        weights |= {f'{layer}.0.weight': torch.randn(sizes.width), f'{layer}.0.bias': torch.randn(sizes.width)}
        weights |= {
            f'{layer}.1.weight': torch.randn(sizes.side, sizes.width, 1, 1),
            f'{layer}.1.bias': torch.randn(sizes.side),
        }
    weights |= {f'{start}mask_decoder.{name}': weight for name, weight in mask_decoder(sizes).state_dict().items()}
    return weights, visual, side


def mask_decoder(sizes: SanSizes) -> nn.Module:
    return MLPMaskDecoder(
        in_channels=sizes.side,
        total_heads=sizes.heads,
        embed_channels=sizes.mask_width,
        mlp_channels=sizes.mask_width,
        rescale_attn_bias=True,
    )
