"""LSeg's release under the names of a segmentor; decoder and blocks compute what the authors' formulas say."""

import pytest
import timm
import torch
import torch.nn.functional as F
from detectron2_masks import tree
from torch import Tensor, nn

from projects.lseg.lseg import SpatialBlock
from vlm_dense.checkpoints import check_coverage
from vlm_dense.checkpoints.adapters import from_dpt_release, is_dpt_release, to_own_names
from vlm_dense.models.decode_heads import DPTPixelHead
from vlm_dense.vlms import TowerBackbone

C, MAPS, FUSED, EMBED = 64, (8, 10, 12, 14), 6, 9
SIDE = 160  # pixels of test_vit


def unit() -> nn.Module:
    convs = {f'conv{number}': nn.Conv2d(FUSED, FUSED, 3, padding=1, bias=False) for number in (1, 2)}
    return tree(**convs, bn1=nn.BatchNorm2d(FUSED), bn2=nn.BatchNorm2d(FUSED))


def release() -> nn.Module:
    """The authors' modules and names, as a Lightning module saves them."""
    torch.manual_seed(0)
    larger = (nn.ConvTranspose2d(8, 8, 4, 4), nn.ConvTranspose2d(10, 10, 2, 2), None, nn.Conv2d(14, 14, 3, 2, 1))
    pretrained = tree(model=timm.create_model('test_vit', depth=4))
    scratch = tree(head1=nn.Conv2d(FUSED, EMBED, 1))
    for level, (width, resize) in enumerate(zip(MAPS, larger, strict=True), start=1):
        readout = tree(project=nn.Sequential(nn.Linear(2 * C, C), nn.GELU()))
        steps = [readout, nn.Identity(), nn.Identity(), nn.Conv2d(C, width, 1)]
        setattr(pretrained, f'act_postprocess{level}', nn.Sequential(*steps, *([] if resize is None else [resize])))
        setattr(scratch, f'layer{level}_rn', nn.Conv2d(width, FUSED, 3, padding=1, bias=False))
        fusion = tree(out_conv=nn.Conv2d(FUSED, FUSED, 1), resConfUnit1=unit(), resConfUnit2=unit())
        setattr(scratch, f'refinenet{level}', fusion)
    scratch.head_block = tree(depthwise=tree(depthwise=nn.Conv2d(1, 1, 3, padding=1)))
    model = tree(net=tree(clip_pretrained=nn.Linear(2, 2), pretrained=pretrained, scratch=scratch))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def through(part: nn.Module, map_BChw: Tensor) -> Tensor:
    inner = part.bn1(part.conv1(map_BChw.relu())).relu()
    return map_BChw + part.bn2(part.conv2(inner))


def dense(model: nn.Module, taps: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Embeddings of cells from four maps and class tokens, as in the paper's decoder (DPT, arXiv:2103.13413)."""
    scratch, fused = model.net.scratch, None
    for level in range(4, 0, -1):
        step = getattr(model.net.pretrained, f'act_postprocess{level}')
        map_BChw, token_BC = taps[level - 1]
        rows_BLC = map_BChw.flatten(2).transpose(1, 2)
        rows_BLC = step[0].project(torch.cat([rows_BLC, token_BC[:, None].expand_as(rows_BLC)], dim=-1))
        local = step[3:](rows_BLC.transpose(1, 2).unflatten(2, map_BChw.shape[2:]))
        local, block = getattr(scratch, f'layer{level}_rn')(local), getattr(scratch, f'refinenet{level}')
        fused = local if fused is None else fused + through(block.resConfUnit1, local)
        fused = through(block.resConfUnit2, fused)
        fused = block.out_conv(F.interpolate(fused, scale_factor=2, mode='bilinear', align_corners=True))
    return scratch.head1(fused)


def segmentor() -> nn.Module:
    tower = dict(type='vlm_dense.TimmTower', name='test_vit', pretrained=None, taps=(0, 1, 2, 3))
    classifier = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED, temperature=0.07, background=None)
    head = DPTPixelHead(
        in_channels=C,
        embed_dim=EMBED,
        reassemble_channels=MAPS,
        channels=FUSED,
        classifier=classifier,
        refine=dict(type='vlm_dense.SpatialBlock', kind='bottleneck', depth=2),
    )
    return tree(backbone=TowerBackbone(tower, class_token=True, tune='all'), decode_head=head).eval()


def test_names_and_numbers() -> None:
    theirs, ours = release(), segmentor()
    found = from_dpt_release(theirs.state_dict())
    coverage = check_coverage(ours.state_dict(), found)
    assert coverage.is_complete, coverage
    unused = {'.'.join(name.split('.')[1:4]) for name in coverage.unexpected}
    assert unused == {
        'clip_pretrained.weight',
        'clip_pretrained.bias',
        'pretrained.model.norm',
        'pretrained.model.head',
        'scratch.refinenet4.resConfUnit1',
    }
    ours.load_state_dict({name: found[name] for name in coverage.matched})
    images_B3HW = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        taps = ours.backbone(images_B3HW)
        expected = dense(theirs, taps)
        torch.testing.assert_close(ours.decode_head.embed(taps).dense_BDhw, expected, rtol=1e-4, atol=1e-4)
        block = theirs.net.pretrained.model.forward_intermediates(images_B3HW, indices=4, intermediates_only=True)
        torch.testing.assert_close(taps[-1][0], block[-1], rtol=1e-4, atol=1e-4)


def test_the_block_of_scores() -> None:
    theirs, ours = release(), SpatialBlock('bottleneck', depth=1)
    found = from_dpt_release(theirs.state_dict())
    start = 'decode_head.refine.'
    ours.load_state_dict({name.removeprefix(start): w for name, w in found.items() if name.startswith(start)})
    logits_BKhw = torch.randn(1, 3, 5, 4)
    kernel = theirs.net.scratch.head_block.depthwise.depthwise
    smooth_BKhw = torch.cat([kernel(map_B1hw) for map_B1hw in logits_BKhw.split(1, dim=1)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(ours(logits_BKhw), smooth_BKhw + logits_BKhw.amax(1, keepdim=True))


def test_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr('vlm_dense.checkpoints.adapters.renaming.print_log', lambda text, **_: said.append(text))
    weights = release().state_dict()
    assert is_dpt_release(weights)
    found = to_own_names(weights)
    assert [line.split(':')[0] for line in said] == [
        "2 weights are not the segmentor's",
        "4 weights are not the segmentor's",
        "12 weights are not the segmentor's",
    ]
    assert not is_dpt_release(found)
    assert to_own_names(found) is found
