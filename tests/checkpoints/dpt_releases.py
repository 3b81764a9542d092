"""LSeg's networks under the names of its release, in the sizes of the shrunk recipes."""

from collections.abc import Sequence

import timm
import torch
from detectron2_masks import tree
from torch import nn

C, FUSED, EMBED = 64, 16, 512
MAPS = (8, 10, 12, 14)


def unit() -> nn.Module:
    convs = {f'conv{number}': nn.Conv2d(FUSED, FUSED, 3, padding=1, bias=False) for number in (1, 2)}
    return tree(**convs, bn1=nn.BatchNorm2d(FUSED), bn2=nn.BatchNorm2d(FUSED))


def vit_release(maps: Sequence[int] = MAPS) -> nn.Module:
    """The authors' modules and names, as a Lightning module saves them."""
    torch.manual_seed(0)
    resizes = (nn.ConvTranspose2d(maps[0], maps[0], 4, 4), nn.ConvTranspose2d(maps[1], maps[1], 2, 2))
    resizes = (*resizes, None, nn.Conv2d(maps[3], maps[3], 3, 2, 1))
    pretrained = tree(model=timm.create_model('test_vit', depth=4))
    for level, (width, resize) in enumerate(zip(maps, resizes, strict=True), start=1):
        readout = tree(project=nn.Sequential(nn.Linear(2 * C, C), nn.GELU()))
        steps = [readout, nn.Identity(), nn.Identity(), nn.Conv2d(C, width, 1)]
        setattr(pretrained, f'act_postprocess{level}', nn.Sequential(*steps, *([] if resize is None else [resize])))
    scratch = decoder(maps)
    scratch.head_block = tree(depthwise=tree(depthwise=nn.Conv2d(1, 1, 3, padding=1)))
    return saved(pretrained, scratch)


def resnet_release() -> nn.Module:
    """The network of the few-shot experiments: stem and first stage are one sequence."""
    torch.manual_seed(0)
    trunk = timm.create_model('test_resnet')
    stages = {f'layer{number}': getattr(trunk, f'layer{number}') for number in (2, 3, 4)}
    first = nn.Sequential(trunk.conv1, trunk.bn1, nn.ReLU(), nn.MaxPool2d(3, 2, 1), trunk.layer1)
    return saved(tree(layer1=first, **stages), decoder([info['num_chs'] for info in trunk.feature_info[-4:]]))


def decoder(maps: Sequence[int]) -> nn.Module:
    scratch = tree(head1=nn.Conv2d(FUSED, EMBED, 1))
    for level, width in enumerate(maps, start=1):
        setattr(scratch, f'layer{level}_rn', nn.Conv2d(width, FUSED, 3, padding=1, bias=False))
        fusion = tree(out_conv=nn.Conv2d(FUSED, FUSED, 1), resConfUnit1=unit(), resConfUnit2=unit())
        setattr(scratch, f'refinenet{level}', fusion)
    return scratch


def saved(pretrained: nn.Module, scratch: nn.Module) -> nn.Module:
    model = tree(net=tree(clip_pretrained=nn.Linear(2, 2), pretrained=pretrained, scratch=scratch))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()
