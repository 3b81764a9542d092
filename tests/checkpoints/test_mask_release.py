"""Releases of ZegFormer, ZSSeg, OVSeg and FC-CLIP; each head's numbers are compared with the authors' formulas."""

from collections.abc import Mapping
from pathlib import Path

import detectron2_masks as theirs
import pytest
import torch
from detectron2_backbones import detectron2_resnet, detectron2_swin
from detectron2_masks import CHANNELS, EMBED, FEEDFORWARD, GROUPS, HEADS, LEVELS, POINTS, QUERIES, WIDTH
from mmdet.models.backbones import ResNet, SwinTransformer
from torch import Tensor, nn

from vlm_dense.checkpoints import check_coverage, load_state
from vlm_dense.checkpoints.adapters import from_mask_release, is_mask_release, to_own_names
from vlm_dense.engine.loading import fill_model
from vlm_dense.models.heads.mask import OVMask2FormerHead, OVMaskFormerHead, Segments

ATTENTION = dict(embed_dims=WIDTH, num_heads=HEADS, dropout=0.0, batch_first=True)
FEED = dict(embed_dims=WIDTH, feedforward_channels=FEEDFORWARD, num_fcs=2, ffn_drop=0.0)
POSITIONS = dict(num_feats=WIDTH // 2, normalize=True)
NORM = dict(type='GN', num_groups=GROUPS)


def shared(layers: int) -> dict:
    layer = dict(self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FEED)
    return dict(
        in_channels=list(CHANNELS),
        feat_channels=WIDTH,
        out_channels=WIDTH,
        num_queries=QUERIES,
        positional_encoding=POSITIONS,
        transformer_decoder=dict(num_layers=layers, layer_cfg=layer, return_intermediate=True),
    )


def words(**changes: object) -> dict:
    return dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED, background=None, void='learned', **changes)


def our_mask_former(encoded: bool, layers: int = 2) -> nn.Module:
    pixels = dict(type='mmdet.PixelDecoder', norm_cfg=NORM)
    if encoded:
        encoder = dict(num_layers=2, layer_cfg=dict(self_attn_cfg=ATTENTION, ffn_cfg=FEED))
        pixels.update(type='mmdet.TransformerEncoderPixelDecoder', encoder=encoder, positional_encoding=POSITIONS)
    embedding = dict(num_layers=layers)
    return OVMaskFormerHead(words(), pixel_decoder=pixels, query_embedding=embedding, **shared(2)).eval()


def our_mask2former() -> nn.Module:
    deformable = dict(**ATTENTION, num_levels=LEVELS, num_points=POINTS)
    encoder = dict(num_layers=2, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=FEED))
    pixels = dict(
        type='mmdet.MSDeformAttnPixelDecoder',
        num_outs=LEVELS,
        norm_cfg=NORM,
        encoder=encoder,
        positional_encoding=POSITIONS,
    )
    return OVMask2FormerHead(
        words(learn_scale=True, temperature=0.07),
        pixel_decoder=pixels,
        query_embedding=dict(num_layers=3, pooled=True),
        num_transformer_feat_level=LEVELS,
        **shared(LEVELS + 1),
    ).eval()


def in_place(head: nn.Module, name: str = 'decode_head', **parts: nn.Module) -> nn.Module:
    return theirs.tree(**{name: head}, **parts)


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Load a release; everything of ours has to be filled. Returns what was of no use."""
    found = from_mask_release(weights, model.state_dict())
    coverage = check_coverage(model.state_dict(), found)
    assert coverage.is_complete, coverage
    model.load_state_dict({name: found[name] for name in coverage.matched})
    return coverage.unexpected


def run(head: nn.Module, maps: list[Tensor]) -> Segments:
    with torch.no_grad():
        return head.segments(maps, (4 * maps[0].shape[2], 4 * maps[0].shape[3]))


@pytest.mark.parametrize('encoded', [False, True])
@pytest.mark.parametrize('layers', [1, 2])
def test_mask_former_computes_the_same(encoded: bool, layers: int) -> None:
    torch.manual_seed(0)
    release = theirs.mask_former(encoded, two_layers=layers == 2)
    void = torch.randn(1, EMBED)
    weights = release.state_dict() | (
        {'sem_seg_head.predictor.bg_feature': void} if layers == 1 else {'clip_adapter.non_object_embedding': void}
    )
    ours = in_place(our_mask_former(encoded, layers))
    assert fill(ours, weights) == ()
    assert torch.equal(ours.decode_head.classifier.extra.learned_ED, void)
    maps = theirs.pyramid()
    with torch.no_grad():
        embed, masks = theirs.run_mask_former(release, maps)
    found = run(ours.decode_head, maps)
    torch.testing.assert_close(found.embed_BND, embed, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.mask_BNhw, masks, rtol=1e-4, atol=1e-4)


def test_mask2former_computes_the_same() -> None:
    torch.manual_seed(0)
    release, head = theirs.mask2former(), our_mask2former()
    ours = in_place(head, 'mask_head')
    weights = release.state_dict() | {
        'void_embedding.weight': torch.randn(1, EMBED),
        'sem_seg_head.predictor.logit_scale': torch.tensor(2.7),
    }
    assert fill(ours, weights) == ()
    assert head.classifier.scale.log.item() == pytest.approx(2.7)
    maps = theirs.pyramid()
    with torch.no_grad():
        embed, masks = theirs.run_mask2former(release, maps)
    found = run(head, maps)
    torch.testing.assert_close(found.mask_BNhw, masks, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.embed_BND, embed, rtol=1e-4, atol=1e-4)


def test_names_of_older_files() -> None:
    """The pixel decoder's parts in the head itself, and the old name of Mask2Former's queries."""
    new = theirs.mask2former().state_dict()
    old = {
        name.replace('.pixel_decoder.', '.').replace('predictor.query_feat', 'predictor.static_query'): weight
        for name, weight in new.items()
    }
    assert set(old) != set(new)
    assert set(from_mask_release(old)) == set(from_mask_release(new))
    new = theirs.mask_former(True).state_dict()
    old = {name.replace('.pixel_decoder.', '.'): weight for name, weight in new.items()}
    assert set(from_mask_release(old)) == set(from_mask_release(new))


@pytest.mark.parametrize('deep_stem', [False, True])
def test_detectron2s_resnet(deep_stem: bool) -> None:
    backbone = ResNet(50, base_channels=4, stem_channels=8 if deep_stem else 4, deep_stem=deep_stem)
    given = {name: torch.randn_like(weight.float()) for name, weight in backbone.state_dict().items()}
    weights = theirs.mask_former(False).state_dict() | {'clip_adapter.non_object_embedding': torch.ones(1, EMBED)}
    weights |= detectron2_resnet(given, deep_stem)
    assert fill(in_place(our_mask_former(False), backbone=backbone), weights) == ()
    for name, weight in backbone.state_dict().items():
        expected = torch.zeros(()) if name.endswith('num_batches_tracked') else given[name]
        assert torch.equal(weight, expected), name


def test_swin_transformer() -> None:
    backbone = SwinTransformer(embed_dims=4, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), window_size=4)
    weights = theirs.mask_former(False).state_dict() | {'clip_adapter.non_object_embedding': torch.ones(1, EMBED)}
    given = {name: torch.randn_like(weight.float()) for name, weight in backbone.state_dict().items()}
    weights |= detectron2_swin(given)
    assert fill(in_place(our_mask_former(False), backbone=backbone), weights) == ()
    # Their cells (row, column) 00, 10, 01, 11 one after the other; mmdet unfolds channel by channel 00, 01, 10, 11.
    reduction = weights['backbone.layers.0.downsample.reduction.weight'].unflatten(1, (4, 4))
    ours = backbone.stages[0].downsample.reduction.weight.unflatten(1, (4, 4))
    for cell, place in enumerate((0, 2, 1, 3)):
        assert torch.equal(ours[:, :, place], reduction[:, cell])
    bias = weights['backbone.layers.2.blocks.0.mlp.fc1.bias']
    assert torch.equal(backbone.stages[2].blocks[0].ffn.layers[0][0].bias, bias)


def test_what_is_of_no_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr('vlm_dense.checkpoints.adapters.renaming.print_log', lambda text, **_: said.append(text))
    more = [
        'clip_adapter.clip_model.visual.proj',
        'clip_adapter.clip_model.visual.mask_embedding',
        'clip_adapter.clip_model.text_projection',
        'clip_adapter.prompt_learner.prefix_prompt',
        'clip_adapter.pixel_mean',
        '_region_clip_adapter.clip_model.visual.proj',
        'sem_seg_head.predictor.logit_scale',
        'criterion.empty_weight',
        'elsewhere.weight',
    ]
    weights = theirs.mask_former(True).state_dict() | {name: torch.zeros(1) for name in more}
    weights['clip_adapter.non_object_embedding'] = torch.zeros(1, EMBED)
    assert set(fill(in_place(our_mask_former(True)), weights)) == set(more)
    assert sorted(line.split(' weights')[0] for line in said) == ['1', '1', '1', '1', '2', '3'], said
    assert any(line.startswith("3 weights are not the model's: the CLIP that names regions; name") for line in said)
    assert any("names in 'elsewhere'" in line for line in said)


def test_a_model_of_fixed_classes_lends_its_masks() -> None:
    weights = theirs.mask_former(False).state_dict()
    embedding = [name for name in weights if '.class_embed.' in name]
    weights = {name: weight for name, weight in weights.items() if name not in embedding}
    weights |= {f'sem_seg_head.predictor.class_embed.{kind}': torch.zeros(4) for kind in ('weight', 'bias')}
    ours = in_place(our_mask_former(False)).state_dict()
    coverage = check_coverage(ours, from_mask_release(weights))
    assert {name.split('.')[1] for name in coverage.missing} == {'cls_embed', 'classifier'}
    assert len(coverage.unexpected) == 2


def test_the_tower_of_fc_clip_keeps_its_place() -> None:
    weights = theirs.mask2former().state_dict() | {
        'backbone.clip_model.visual.trunk.stem.0.weight': torch.randn(2),
        'backbone.clip_model.transformer.resblocks.0.ln_1.weight': torch.randn(3),
        'backbone.clip_model.logit_scale': torch.zeros(()),
    }
    found = from_mask_release(weights)
    assert 'backbone.tower.visual.trunk.stem.0.weight' in found
    kept = {name for name in found if not name.startswith('decode_head.')}
    assert kept == {
        'backbone.tower.visual.trunk.stem.0.weight',
        'backbone.clip_model.transformer.resblocks.0.ln_1.weight',
        'backbone.clip_model.logit_scale',
    }


def test_recognised_once() -> None:
    weights = theirs.mask_former(True).state_dict() | {'sem_seg_head.predictor.clip_model.visual.proj': torch.zeros(1)}
    assert is_mask_release(weights)
    found = to_own_names(weights)
    assert not is_mask_release(found)
    assert to_own_names(found) is found
    assert to_own_names(weights, ['mask_head.query_embed.weight']).keys() == {
        name.replace('decode_head.', 'mask_head.') for name in found
    }


@pytest.mark.parametrize('name', ['decode_head', 'mask_head'])
def test_files_are_read_for_segmentors_and_detectors(tmp_path: Path, name: str) -> None:
    release = theirs.mask_former(True)
    weights = release.state_dict() | {'clip_adapter.non_object_embedding': torch.randn(1, EMBED)}
    torch.save(dict(model=weights, iteration=7), tmp_path / 'release.pth')
    model, again = (in_place(our_mask_former(True), name) for _ in range(2))
    assert load_state(model, tmp_path / 'release.pth', strict=True).unexpected == ()
    assert fill_model(again, dict(model=weights), 'the release', whole=True).is_complete
    queries = weights['sem_seg_head.predictor.query_embed.weight']
    assert all(torch.equal(getattr(one, name).query_embed.weight, queries) for one in (model, again))
