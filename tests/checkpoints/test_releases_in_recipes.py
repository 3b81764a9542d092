"""Releases of ZegFormer, ZSSeg, OVSeg, FC-CLIP, SAN and LSeg fill the shrunk recipes of these methods.

They go through the runner, as ``tools/test.py CONFIG CHECKPOINT`` does; a parameter left empty would be refused.
"""

import math
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import san_release
import torch
from detectron2_backbones import detectron2_resnet, detectron2_swin
from detectron2_masks import CHANNELS, EMBED, FEEDFORWARD, HEADS, QUERIES, mask2former, mask_former, randomised
from dpt_releases import resnet_release, vit_release
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from recipe_maps import write_coco_stuff_data
from recipe_parts import tiny_clip_vit
from recipes import tiny_recipe
from torch import Tensor, nn

from vlm_dense.engine import build_runner
from vlm_dense.engine.command_line import run_testing
from vlm_dense.registry import MODELS

Weights = dict[str, Tensor]
SWIN_CHANNELS = (16, 32, 64, 128)


def region_clip(place: str, prompted: bool = False) -> Weights:
    """The CLIP that names regions, all of it, as it lies in a release; OVSeg's with three layers of mask tokens."""
    torch.manual_seed(5)
    clip = open_clip.create_model(tiny_clip_vit(blocks=4)).state_dict()
    tokens = dict.fromkeys(['visual.mask_embedding'] if prompted else [], torch.randn(3, 36, 64))
    return {place + name: torch.randn_like(w) if w.is_floating_point() else w for name, w in (clip | tokens).items()}


def backbone(model: nn.Module) -> Weights:
    """New weights for the model's own backbone, under detectron2's names."""
    own = model.backbone.state_dict()
    given = {name: torch.rand_like(weight) if weight.is_floating_point() else weight for name, weight in own.items()}
    if 'patch_embed.projection.weight' in given:
        return detectron2_swin(given)
    return detectron2_resnet(given, deep_stem='stem.0.weight' in given)


def zegformer(model: nn.Module) -> Weights:
    predictor = 'sem_seg_head.predictor.'
    more = {f'{predictor}bg_feature': torch.randn(1, EMBED), f'{predictor}logit_scale': torch.tensor(math.log(100))}
    head = mask_former(encoded=False, two_layers=False).state_dict()
    return head | more | backbone(model) | region_clip(f'{predictor}clip_model.')


def zsseg(model: nn.Module) -> Weights:
    more = {
        'clip_adapter.non_object_embedding': torch.randn(1, EMBED),
        'clip_adapter.prompt_learner.prefix_prompt': torch.randn(16, 32),
        'criterion.empty_weight': torch.ones(157),
    }
    return mask_former(encoded=False).state_dict() | more | backbone(model) | region_clip('clip_adapter.clip_model.')


def ovseg(model: nn.Module) -> Weights:
    is_swin = not hasattr(model.backbone, 'layer4')
    head = mask_former(encoded=False, channels=SWIN_CHANNELS if is_swin else CHANNELS).state_dict()
    more = {'clip_adapter.non_object_embedding': torch.randn(1, EMBED)}
    return head | more | backbone(model) | region_clip('clip_adapter.clip_model.', prompted=True)


def fcclip(model: nn.Module) -> Weights:
    """Its backbone is frozen and no part of our checkpoints, so that the release's has to be the same."""
    more = {
        'sem_seg_head.predictor.logit_scale': torch.tensor(2.7),
        'void_embedding.weight': torch.randn(1, EMBED),
        'backbone.clip_model.logit_scale': torch.tensor(4.6),
    }
    convolution = model.backbone.tower.pyramid(torch.zeros(1, 3, 64, 64))
    channels = [map_BChw.shape[1] for map_BChw in convolution]
    tower = {f'backbone.clip_model.{name}': weight for name, weight in model.backbone.tower.state_dict().items()}
    return mask2former(channels, encoder_layers=1, decoder_layers=2).state_dict() | more | tower


def san(model: nn.Module) -> Weights:
    sizes = san_release.SanSizes(
        out=EMBED,
        queries=10,
        heads=2,
        first=9,
        blocks=12,
        side_blocks=8,
        fused=4,
        picture=224,
        patch=16,
        side_patch=16,
        mask_width=16,
    )
    weights, _, _ = san_release.release(sizes)
    weights = {name: torch.randn_like(weight) for name, weight in weights.items()}
    return weights | {'ov_classifier.logit_scale': torch.tensor(math.log(100))}


def lseg_vit(model: nn.Module) -> Weights:
    return randomised(vit_release(maps=(8, 8, 8, 8))).state_dict()


def lseg_resnet(model: nn.Module) -> Weights:
    return randomised(resnet_release()).state_dict()


RELEASES: dict[str, Callable[[nn.Module], Weights]] = {
    'zegformer_r101_cocostuff': zegformer,
    'zegformer_r101_voc': zegformer,
    'zsseg_r101c_cocostuff': zsseg,
    'ovseg_r101c_cocostuff': ovseg,
    'ovseg_swin_b_cocostuff': ovseg,
    'fcclip_convnext_l_coco': fcclip,
    'fcclip_rn50_coco': fcclip,
    'san_vit_b16_cocostuff': san,
    'lseg_vit_l16_ade20k': lseg_vit,
    'lseg_vit_l16_fss1000': lseg_vit,
    'lseg_rn101_pascal5i': lseg_resnet,
}


def resize(head: ConfigDict) -> None:
    """Sizes of the release that is made up here."""
    head.num_queries = QUERIES
    for layer in (head.pixel_decoder.encoder.layer_cfg, head.transformer_decoder.layer_cfg):
        layer.ffn_cfg.feedforward_channels = FEEDFORWARD
        layer.self_attn_cfg.num_heads = HEADS


def runner_of(config: Config, folder: Path) -> Runner:
    config.work_dir = str(folder / 'run')
    config.experiment_name = f'releases_{folder.name}'
    return build_runner(config)


@pytest.mark.parametrize('name', RELEASES)
def test_release_fills_the_recipe(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_recipe(f'{name}.py', tmp_path)
    if name.startswith('san'):
        config.model.decode_head.classifier.temperature = 0.01  # the recipe's, which the release has too
    if name.startswith('fcclip'):
        resize(config.model.mask_head)
    runner = runner_of(config, tmp_path)
    release = RELEASES[name](runner.model)
    path = tmp_path / 'release.pth'
    torch.save(dict(state_dict=release) if name.startswith('lseg') else dict(model=release, iteration=7), path)
    before = {key: weight.clone() for key, weight in runner.model.named_parameters()}
    said: list[str] = []
    monkeypatch.setattr('vlm_dense.engine.loading.print_log', lambda text, **_: said.append(text))
    runner.load_checkpoint(str(path), strict=True)
    (report,) = said
    assert report.startswith(f"'{path}': ")
    assert ' missing (' not in report
    assert ' mismatched (' not in report
    kept = [key for key, weight in runner.model.named_parameters() if torch.equal(weight, before[key])]
    assert all(key.startswith('backbone.tower.') for key in kept) if name.startswith('fcclip') else kept == []


def test_tools_test_takes_masks_and_the_tower_from_one_file(tmp_path: Path) -> None:
    """ZegFormer's: the masks from the checkpoint, CLIP as the weights of the region reader's tower."""
    write_coco_stuff_data(tmp_path)
    config = tiny_recipe('zegformer_r101_cocostuff.py', tmp_path)
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    path = tmp_path / 'release.pth'
    release = zegformer(MODELS.build(config.model))
    torch.save(dict(model=release, iteration=7), path)
    config.model.regions.tower.pretrained = str(path)
    config.dump(tmp_path / 'tiny.py')
    assert run_testing([str(tmp_path / 'tiny.py'), str(path), '--work-dir', str(tmp_path / 'run')]) == 0
    tower = MODELS.build(config.model.regions.tower)
    weight = release['sem_seg_head.predictor.clip_model.visual.conv1.weight']
    assert torch.equal(tower.visual.conv1.weight, weight)
