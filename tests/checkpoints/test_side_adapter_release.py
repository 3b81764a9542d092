"""SAN's release under mmseg's names: mmseg's own converter says the same, and both compute the same."""

import importlib.util
from pathlib import Path
from typing import Any

import mmseg
import pytest
import torch
from mmengine import ConfigDict
from mmseg.models.backbones import VisionTransformer
from mmseg.models.decode_heads.san_head import RecWithAttnbias, SideAdapterNetwork
from san_release import SanSizes, release
from torch import nn

from vlm_dense.checkpoints import check_coverage
from vlm_dense.checkpoints.adapters import from_side_adapter, is_side_adapter, to_own_names

CONVERTER = Path(mmseg.__file__).parent / '.mim/tools/model_converters/san2mmseg.py'
SMALL = SanSizes()
WIDTH, SIDE, OUT, QUERIES, HEADS = SMALL.width, SMALL.side, SMALL.out, SMALL.queries, SMALL.heads
FIRST, BLOCKS = SMALL.first, SMALL.blocks


class Segmentor(nn.Module):
    """mmseg's parts, without its text encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = VisionTransformer(
            img_size=(32, 32),
            patch_size=8,
            patch_pad=0,
            embed_dims=WIDTH,
            num_layers=FIRST,
            num_heads=HEADS,
            out_origin=True,
            out_indices=(0, 1),
            patch_bias=False,
            output_cls_token=True,
            pre_norm=True,
            norm_cfg=dict(type='LN', eps=1e-5),
            act_cfg=dict(type='mmseg.QuickGELU'),
        )
        decoder = ConfigDict(num_heads=HEADS, num_layers=1, embed_channels=8, mlp_channels=8, num_mlp=3, rescale=True)
        self.decode_head = nn.Module()
        self.decode_head.side_adapter_network = SideAdapterNetwork(
            clip_channels=WIDTH,
            embed_dims=SIDE,
            patch_size=160,
            num_queries=QUERIES,
            fusion_index=[0, 1],
            cfg_encoder=ConfigDict(num_encode_layer=2, num_heads=HEADS, mlp_ratio=4),
            cfg_decoder=decoder,
            norm_cfg=dict(type='LN', eps=1e-6),
        )
        self.decode_head.rec_with_attnbias = RecWithAttnbias(
            sos_token_num=QUERIES,
            num_layers=BLOCKS - FIRST,
            embed_dims=WIDTH,
            num_heads=HEADS,
            out_dims=OUT,
            act_cfg=dict(type='mmseg.QuickGELU'),
            norm_cfg=dict(type='LN', eps=1e-5),
        )


def mmseg_converter() -> Any:
    spec = importlib.util.spec_from_file_location('san2mmseg', CONVERTER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mmsegs_converter_says_the_same() -> None:
    weights, _, _ = release()
    converter = mmseg_converter()
    # It counts on the side network's coming first, as it does in the authors' files.
    in_order = dict(sorted(weights.items(), key=lambda item: not item[0].startswith('side_adapter_network.')))
    expected = converter.convert_tensor(converter.convert_key_name(in_order))
    found = from_side_adapter(weights)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_everything_of_mmsegs_model_is_filled() -> None:
    weights, _, _ = release()
    coverage = check_coverage(Segmentor().state_dict(), from_side_adapter(weights))
    assert coverage.is_complete, coverage
    assert {name.split('.')[0] for name in coverage.unexpected} == {'text_encoder', 'criterion'}


def test_side_layers_are_numbered_in_order() -> None:
    """They are named after blocks of the side network, whichever these are."""
    usual, later = (from_side_adapter(release(first_fused=first)[0]) for first in (0, 9))
    assert usual.keys() == later.keys()


def filled() -> tuple[Segmentor, nn.Module, nn.Module]:
    weights, visual, side = release()
    model = Segmentor()
    model.load_state_dict(from_side_adapter(weights), strict=False)
    return model.eval(), visual.eval(), side.eval()


def test_clips_blocks_compute_the_same() -> None:
    model, visual, _ = filled()
    images_B3HW = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        # open_clip alone: the pictures' embeddings, block by block in two halves.
        expected = visual(images_B3HW)
        origin, *taps = model.image_encoder(images_B3HW)
        map_BChw, token_BC = taps[-1]
        tokens_LBC = torch.cat([token_BC[None], map_BChw.flatten(2).permute(2, 0, 1)])
        tail = model.decode_head.rec_with_attnbias
        for layer in tail.layers:
            tokens_LBC = layer(tokens_LBC)
        found = tail.proj(tail.ln_post(tokens_LBC[0]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert origin[0].shape == map_BChw.shape


def test_side_blocks_compute_the_same() -> None:
    model, _, side = filled()
    ours = model.decode_head.side_adapter_network
    rows_BLC = torch.randn(2, 6, SIDE)
    with torch.no_grad():
        for block, layer in zip(side.blocks, ours.encode_layers, strict=True):
            torch.testing.assert_close(layer(rows_BLC), block(rows_BLC), rtol=1e-4, atol=1e-5)
    assert torch.equal(ours.patch_embed.projection.weight, side.patch_embed.proj.weight)
    assert torch.equal(ours.pos_embed, side.pos_embed)


def test_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, _, _ = release()
    said: list[str] = []
    monkeypatch.setattr('vlm_dense.checkpoints.adapters.renaming.print_log', lambda text, **_: said.append(text))
    found = to_own_names(weights)
    assert is_side_adapter(weights)
    assert not is_side_adapter(found)
    assert said == ["1 weights are not the segmentor's: constants of training."]
    assert to_own_names(found) is found
