"""Deep fusion against mmdet's VLFuse and transformers' layer of BERT, and the dynamic block against mmdet's DyConv."""

import numpy as np
import pytest
import torch
from grounding_parts import SIZES, pyramid, texts, their_text
from torch import Tensor, nn

from vlm_dense.models.fusion import BidirectionalAttention, ImageTextFusion, TextLayer
from vlm_dense.models.fusion.bidirectional_attention import softmax_over_cells
from vlm_dense.models.heads.grounding.dynamic_conv import DynamicConv
from vlm_dense.models.heads.grounding.levels import flatten_levels, split_levels

SHAPES = [torch.Size(size) for size in SIZES]


def fusions() -> tuple[ImageTextFusion, nn.Module]:
    from mmdet.models.utils import VLFuse

    other = VLFuse(v_dim=32, l_dim=768, embed_dim=64, num_heads=4).eval()
    with torch.no_grad():
        for weight in other.parameters():
            weight.normal_(0, 0.3)
    ours = ImageTextFusion(image_width=32, text_width=768, embed_width=64, num_heads=4).eval()
    ours.load_state_dict(other.state_dict(), strict=True)
    return ours, other


def test_fusion_is_mmdets_with_gradients_on_trimmed_text() -> None:
    ours, other = fusions()
    maps, text = pyramid(width=32), texts()
    expected = other({'visual': maps, 'lang': their_text(text)})
    image_BNC, text_BLT = ours(ours.normalise(flatten_levels(maps)), text.hidden_BLC, text.is_token_BL)
    torch.testing.assert_close(image_BNC, flatten_levels(expected['visual']), atol=1e-5, rtol=1e-5)
    expected_BLT = expected['lang']['hidden'][:, : text.hidden_BLC.shape[1]]
    torch.testing.assert_close(text_BLT, expected_BLT, atol=1e-5, rtol=1e-5)
    real = text.is_token_BL[..., None]
    (image_BNC.square().mean() + (text_BLT * real).square().mean()).backward()
    (flatten_levels(expected['visual']).square().mean() + (expected_BLT * real).square().mean()).backward()
    for (name, weight), like in zip(ours.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, like.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_extreme_scores_are_cut_as_mmdet_cuts_them() -> None:
    ours, other = fusions()
    with torch.no_grad():
        for module in (ours.b_attn.attn, other.b_attn.attn):
            module.v_proj.weight.mul_(3e4)
    maps, text = pyramid(width=32), texts()
    with torch.no_grad():
        image_BNC = ours.normalise(flatten_levels(maps))
        scores_BNM = ours.b_attn.attn._scores(image_BNC, ours.b_attn.layer_norm_l(text.hidden_BLC))
        assert 0.1 < (scores_BNM.abs() == 50_000).float().mean() < 0.9
        expected = other({'visual': maps, 'lang': their_text(text)})
        found_BNC, found_BLT = ours(image_BNC, text.hidden_BLC, text.is_token_BL)
    # Scores of 10,000 are exact to a thousandth only: cells whose best two scores are that close may differ.
    off_BN = (found_BNC - flatten_levels(expected['visual'])).abs().amax(2) > 1e-2
    assert off_BN.float().mean() < 0.02
    off_BL = (found_BLT - expected['lang']['hidden'][:, :12]).abs().amax(2) > 1e-2
    assert off_BL.float().mean() < 0.1


def test_dropped_parts_are_what_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training, numpy's sums over the parts that were kept, biases included."""
    attention = BidirectionalAttention(image_width=6, text_width=5, embed_width=8, num_heads=2, dropout=0.5).double()
    for projection in attention.children():
        nn.init.normal_(projection.bias)
    kept: list[Tensor] = []

    def dropped(part: Tensor) -> Tensor:
        kept.append((torch.rand_like(part) > 0.5) * 2.0)
        return part * kept[-1]

    monkeypatch.setattr(attention, '_dropped', dropped)
    cells, tokens = torch.randn(1, 7, 6).double(), torch.randn(1, 3, 5).double()
    read_text, read_image = attention.train()(cells, tokens, None)

    def project(layer: nn.Linear, states: Tensor) -> np.ndarray:
        return layer(states)[0].detach().numpy().reshape(-1, 2, 4)

    scores_NHL = np.einsum('nhd,lhd->nhl', project(attention.v_proj, cells), project(attention.l_proj, tokens)) / 2
    part_NHL = np.exp(scores_NHL)
    to_text = part_NHL / part_NHL.sum(2, keepdims=True) * kept[0][0].numpy()
    to_image = part_NHL / part_NHL.sum(0) * kept[1][0].numpy().T.reshape(7, 2, 3)
    for found, values, equation, parts, out in (
        (read_text, project(attention.values_l_proj, tokens), 'nhl,lhd->nhd', to_text, attention.out_v_proj),
        (read_image, project(attention.values_v_proj, cells), 'nhl,nhd->lhd', to_image, attention.out_l_proj),
    ):
        joined = torch.from_numpy(np.einsum(equation, parts, values).reshape(-1, 8))
        torch.testing.assert_close(found[0], out(joined), atol=1e-9, rtol=0)


def test_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        fusion = ImageTextFusion(16, 24, 32, 4, use_checkpoint=use_checkpoint).train()
        image, text = fusion(torch.randn(2, 9, 16), torch.randn(2, 5, 24), None)
        (image.sum() + text.square().sum()).backward()
        gradients.append([weight.grad for weight in fusion.b_attn.attn.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(('width', 'heads', 'wide'), [(48, 4, 96), (384, 12, 1536)])
def test_text_layer_is_transformers(width: int, heads: int, wide: int) -> None:
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer

    config = BertConfig(
        hidden_size=width, num_attention_heads=heads, intermediate_size=wide, attn_implementation='eager'
    )
    other = BertLayer(config).eval()
    with torch.no_grad():
        for weight in other.parameters():
            weight.normal_(0, 0.1)
    ours = TextLayer(width, heads, wide).eval()
    ours.load_state_dict(other.state_dict(), strict=True)
    states, is_token_BL = torch.randn(2, 7, width), torch.arange(7) < torch.tensor([[7], [4]])
    mask = torch.zeros(2, 1, 1, 7).masked_fill(~is_token_BL[:, None, None], torch.finfo().min)
    expected = other(states, mask)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(states, is_token_BL), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('dynamic', [True, False])
def test_dynamic_block_is_mmdets(dynamic: bool) -> None:
    from mmdet.models.dense_heads.atss_vlfusion_head import Conv3x3Norm, DyConv

    other = DyConv(
        lambda i, o, s: Conv3x3Norm(i, o, s, use_dcn=dynamic, norm_type=['gn', 16]),
        32,
        32 if dynamic else 48,
        use_dyfuse=dynamic,
        use_dyrelu=dynamic,
        use_dcn=dynamic,
    )
    with torch.no_grad():
        for weight in other.parameters():
            weight.normal_(0, 0.2)
    ours = DynamicConv(32, 32 if dynamic else 48, dynamic)
    ours.load_state_dict(other.state_dict(), strict=True)
    maps = pyramid(width=32)
    expected = other({'visual': maps, 'lang': {}})['visual']
    # What fusion hands over is laid out channels last.
    for given in (maps, split_levels(flatten_levels(maps), SHAPES)):
        for found, like in zip(ours(given), expected, strict=True):
            torch.testing.assert_close(found, like, atol=1e-4, rtol=1e-4)


def test_both_ways_of_the_softmax_over_cells_are_the_same() -> None:
    scores_BNM = torch.randn(2, 7, 5)
    expected = scores_BNM.exp() / scores_BNM.exp().sum(1, keepdim=True)
    for copy in (True, False):
        torch.testing.assert_close(softmax_over_cells(scores_BNM, copy), expected.transpose(1, 2))
