"""LSeg's release under the names of a segmentor; decoder and blocks compute what the authors' formulas say."""

import pytest
import torch
import torch.nn.functional as F
from detectron2_masks import tree
from dpt_releases import EMBED, FUSED, MAPS, C, resnet_release, vit_release
from torch import Tensor, nn

from projects.lseg.lseg import SpatialBlock
from vlm_dense.checkpoints import check_coverage
from vlm_dense.checkpoints.adapters import from_dpt_release, is_dpt_release, to_own_names
from vlm_dense.models.decode_heads import DPTPixelHead, PyramidPixelHead
from vlm_dense.vlms import TowerBackbone

SIDE = 160  # pixels of test_vit


def through(part: nn.Module, map_BChw: Tensor) -> Tensor:
    inner = part.bn1(part.conv1(map_BChw.relu())).relu()
    return map_BChw + part.bn2(part.conv2(inner))


def dense(model: nn.Module, taps: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Embeddings of cells from four maps and class tokens, as in the paper's decoder (DPT, arXiv:2103.13413)."""
    maps = []
    for level, (map_BChw, token_BC) in enumerate(taps, start=1):
        step = getattr(model.net.pretrained, f'act_postprocess{level}')
        rows_BLC = map_BChw.flatten(2).transpose(1, 2)
        rows_BLC = step[0].project(torch.cat([rows_BLC, token_BC[:, None].expand_as(rows_BLC)], dim=-1))
        maps.append(step[3:](rows_BLC.transpose(1, 2).unflatten(2, map_BChw.shape[2:])))
    return fused(model.net.scratch, maps)


def fused(scratch: nn.Module, maps: list[Tensor]) -> Tensor:
    """Embeddings from four maps, finest first."""
    sum_BChw = None
    for level in range(4, 0, -1):
        local = getattr(scratch, f'layer{level}_rn')(maps[level - 1])
        block = getattr(scratch, f'refinenet{level}')
        sum_BChw = local if sum_BChw is None else sum_BChw + through(block.resConfUnit1, local)
        sum_BChw = through(block.resConfUnit2, sum_BChw)
        sum_BChw = block.out_conv(F.interpolate(sum_BChw, scale_factor=2, mode='bilinear', align_corners=True))
    return scratch.head1(sum_BChw)


def words() -> dict:
    given = dict(embed_dim=EMBED, temperature=0.07, background=None)
    return dict(classifier=dict(type='vlm_dense.EmbeddingClassifier', **given))


def segmentor() -> nn.Module:
    tower = dict(type='vlm_dense.TimmTower', name='test_vit', pretrained=None, taps=(0, 1, 2, 3))
    head = DPTPixelHead(
        in_channels=C,
        embed_dim=EMBED,
        reassemble_channels=MAPS,
        channels=FUSED,
        **words(),
        refine=dict(type='vlm_dense.SpatialBlock', kind='bottleneck', depth=2),
    )
    return tree(backbone=TowerBackbone(tower, class_token=True, tune='all'), decode_head=head).eval()


def test_names_and_numbers() -> None:
    theirs, ours = vit_release(), segmentor()
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


def test_a_convolutional_network() -> None:
    theirs = resnet_release()
    backbone = TowerBackbone(dict(type='vlm_dense.TimmTower', name='test_resnet', pretrained=None), tune='all')
    head = PyramidPixelHead((32, 48, 192, 96), EMBED, channels=FUSED, bias=True, align_corners=True, **words())
    ours = tree(backbone=backbone, decode_head=head).eval()
    found = from_dpt_release(theirs.state_dict())
    coverage = check_coverage(ours.state_dict(), found)
    assert coverage.is_complete, coverage
    assert {name.split('.')[1] for name in coverage.unexpected} == {'clip_pretrained', 'scratch'}
    ours.load_state_dict({name: found[name] for name in coverage.matched})
    images_B3HW = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps, map_BChw = [], images_B3HW
        for number in range(1, 5):
            map_BChw = getattr(theirs.net.pretrained, f'layer{number}')(map_BChw)
            maps.append(map_BChw)
        expected = fused(theirs.net.scratch, maps)
        torch.testing.assert_close(head.embed(backbone(images_B3HW)).dense_BDhw, expected, rtol=1e-4, atol=1e-4)


def test_the_block_of_scores() -> None:
    theirs, ours = vit_release(), SpatialBlock('bottleneck', depth=1)
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
    weights = vit_release().state_dict()
    assert is_dpt_release(weights)
    found = to_own_names(weights)
    assert [line.split(':')[0] for line in said] == [
        "2 weights are not the segmentor's",
        "4 weights are not the segmentor's",
        "12 weights are not the segmentor's",
    ]
    assert not is_dpt_release(found)
    assert to_own_names(found) is found
