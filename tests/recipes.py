"""Every recipe of configs/, shrunk until it steps in seconds.

Types and structure stay; widths, sizes and paths change. Words and teachers that need weights which no package
ships are replaced by the parts of ``recipe_parts``; the data are those of ``recipe_data``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_parts import WIDTH, tiny_bert
from mmengine.config import Config
from mmengine.registry import init_default_scope
from recipe_masks import shrink_fcclip, shrink_mask_former, shrink_region_namer, shrink_region_prompts, shrink_san
from recipe_parts import CLIP_WIDTH, tiny_clip_resnet, tiny_clip_vit
from recipe_steps import SIDE, loaders_of, narrow, steps_of

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'


def tiny_recipe(name: str, root: Path) -> Config:
    """Read a recipe, shrink it and point it to the data below ``root``."""
    config = Config.fromfile(CONFIGS / name)
    init_default_scope(config.default_scope)
    shrink_of(name)(config)
    move(config._cfg_dict, root)
    return config


def shrink_pictures(config: Config) -> None:
    """The built-in recipes keep their real words and tower; only the scenes are smaller."""
    for step in steps_of(config):
        if step.type == 'Resize':
            step.scale = (2 * SIDE, 2 * SIDE)


def shrink_mask_rcnn(config: Config) -> None:
    """Mask R-CNN's heads and FPN on any backbone."""
    model = config.model
    model.text_bank = dict(type='vlm_dense.HashedBank')
    narrow(model)
    model.roi_head.bbox_head.in_channels = 16
    model.train_cfg.rcnn.sampler.num = 16
    for loader in loaders_of(config):
        narrow(loader.dataset)


def shrink_vild(config: Config) -> None:
    """Mask R-CNN with ResNet-50 and a teacher."""
    shrink_mask_rcnn(config)
    config.model.branches.image.teacher.tower = dict(type='vlm_dense.OneConvTower')
    config.model.backbone.base_channels = 8
    config.model.neck.in_channels = [32, 64, 128, 256]


def shrink_fvlm(config: Config) -> None:
    """Mask R-CNN on CLIP's ResNet, which scores regions too."""
    shrink_mask_rcnn(config)
    model = config.model
    model.backbone.tower.update(name=tiny_clip_resnet(), pretrained=None)
    model.neck.in_channels = [64, 128, 256, 512]
    model.roi_head.bbox_head.embed_dim = CLIP_WIDTH
    model.region_scorer.roi_extractor.out_channels = 512
    model.region_scorer.roi_extractor.roi_layer.output_size = 2
    model.region_scorer.classifier.embed_dim = CLIP_WIDTH
    for classifier in (model.roi_head.bbox_head.classifier, model.region_scorer.classifier):
        classifier.background.bank = dict(type='vlm_dense.HashedBank')


def shrink_glip(config: Config) -> None:
    """Swin, BERT and the dynamic head, fused or not."""
    model = config.model
    model.backbone.update(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], window_size=3, init_cfg=None)
    model.neck.update(in_channels=[32, 64, 128], out_channels=32)
    model.bbox_head.update(in_channels=32, feat_channels=32, num_blocks=1)
    model.bbox_head.text = dict(width=WIDTH, num_heads=2, intermediate=48)
    model.language_model.update(model=str(tiny_bert()), pretrained=True)
    model.test_cfg.update(nms_pre=20, max_per_img=20, score_thr=0.0)
    if 'aux_losses' in model.bbox_head:
        model.bbox_head.aux_losses.contrast.update(region_width=32, text_width=WIDTH)
        model.masked_words.width = WIDTH
    for step in steps_of(config):
        if step.type == 'RandomChoiceResize':
            step.scales = [(SIDE, SIDE)]
        if step.type == 'FixScaleResize':
            step.scale = (SIDE, SIDE)
        if step.type == 'vlm_dense.DetectionAsGrounding':
            step.tokenizer = str(tiny_bert())


def shrink_rpn(network: Any) -> None:
    """A proposal network on ResNet-50, with or without a pyramid."""
    network.backbone.base_channels = 8
    if network.neck is None:
        network.rpn_head.in_channels = 128
    else:
        narrow(network.neck)
        network.neck.in_channels = [32, 64, 128, 256]
        network.rpn_head.in_channels = 16
    network.rpn_head.feat_channels = 16
    network.test_cfg.rpn.update(nms_pre=40, max_per_img=20)


def shrink_regionclip(config: Config) -> None:
    """CLIP's ResNet read as C4, with a proposal network of its own."""
    model = config.model
    model.text_bank = dict(type='vlm_dense.HashedBank')
    model.backbone.tower.update(name=tiny_clip_resnet(), pretrained=None)
    if 'model' in model.proposals:
        model.proposals.checkpoint = None
        shrink_rpn(model.proposals.model)
    head = model.roi_head
    head.bbox_roi_extractor.out_channels = 256
    head.bbox_roi_extractor.roi_layer.output_size = 4
    head.bbox_head.update(embed_dim=CLIP_WIDTH, in_channels=CLIP_WIDTH)
    # A random tower is far from any word, where a temperature of 0.01 makes every step overshoot.
    head.bbox_head.classifier.temperature = 0.1
    if 'mask_head' in head:
        head.mask_head.update(in_channels=512, conv_out_channels=16)
        model.train_cfg.rcnn.mask_size = 4
    if model.get('train_cfg') is not None:
        model.train_cfg.rcnn.sampler.num = 16
    if 'branches' in model:
        region = model.branches.region
        region.teacher.tower.update(name=tiny_clip_resnet(), pretrained=None)
        region.teacher.roi_extractor = head.bbox_roi_extractor
        region.bank = dict(type='vlm_dense.HashedBank')
        region.update(temperature=0.5, min_score=0.0, max_regions=8)
        model.branches.picture.encoder = dict(type='vlm_dense.HashedEncoder')
        model.branches.picture.temperature = 0.5
        config.train_dataloader.dataset.shards = '{00000..00001}.tar'
    for loader in loaders_of(config):
        narrow(loader.dataset)


def shrink_lseg_network(model: Any) -> None:
    """ViT with the DPT decoder, or a ResNet under the same fusion."""
    if model.decode_head.type == 'vlm_dense.DPTPixelHead':
        model.backbone.tower.update(name='test_vit', pretrained=None, taps=(0, 1, 2, 3))
        model.decode_head.update(in_channels=64, reassemble_channels=(8, 8, 8, 8), channels=16)
    else:
        model.backbone.tower.update(name='test_resnet', pretrained=None)
        model.decode_head.update(in_channels=(32, 48, 192, 96), channels=16)
    model.text_bank = dict(type='vlm_dense.HashedBank')
    model.data_preprocessor.size = (SIDE, SIDE)


def shrink_lseg(config: Config) -> None:
    """LSeg on pictures of their own shape, in windows."""
    model = config.model
    shrink_lseg_network(model)
    model.test_cfg.update(crop_size=(SIDE, SIDE), stride=(64, 64), scales=[0.5, 1.0])
    for loader in loaders_of(config):
        for step in loader.dataset.pipeline:
            if step.type in ('RandomResize', 'Resize'):
                step.scale = (2 * SIDE, SIDE)
            if step.type == 'RandomCrop':
                step.crop_size = (SIDE, SIDE)


def shrink_lseg_episodes(config: Config) -> None:
    """LSeg on pictures squeezed to a square."""
    shrink_lseg_network(config.model)
    for loader in loaders_of(config):
        narrow(loader.dataset)


def shrink_film(config: Config) -> None:
    """Tapped CLIP with the FiLM decoder."""
    model = config.model
    model.backbone.tower.update(name=tiny_clip_vit(blocks=10), pretrained=None)
    model.text_bank.bank.encoder = dict(type='vlm_dense.HashedEncoder')
    model.text_bank.bank.cache_dir = None
    model.decode_head.update(in_channels=64, channels=16, feedforward=32)
    model.data_preprocessor.size = (SIDE, SIDE)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        narrow(loader.dataset)


def shrink_dense_clip(config: Config) -> None:
    """A frozen CLIP tower without decoder; ViT-B/16 and RN50 become tiny, the read-out stays."""
    tower = config.model.backbone.tower
    towers = [tower, tower.tower] if 'tower' in tower else [tower]
    for one in towers:
        if one.type == 'vlm_dense.OpenClipTower':
            one.update(
                name=tiny_clip_resnet() if one.name.startswith('RN') else tiny_clip_vit(blocks=3), pretrained=None
            )
    if 'proxy' in tower:
        tower.proxy = dict(type='vlm_dense.OneConvTower', side=8)
    config.model.text_bank = dict(type='vlm_dense.NamesBank')
    if config.model.get('test_cfg', {}).get('mode') == 'slide':
        config.model.test_cfg.update(crop_size=(64, 64), stride=(32, 32))
    for loader in loaders_of(config):
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (2 * SIDE, SIDE)


def move(settings: Any, root: Path) -> None:
    """Point every path that starts in data/ to a folder of the test."""
    if isinstance(settings, list):
        for entry in settings:
            move(entry, root)
    if isinstance(settings, dict):
        for key, value in settings.items():
            if isinstance(value, str) and value.startswith('data/'):
                settings[key] = str(root / value) + ('/' if value.endswith('/') else '')
            move(value, root)


# By the beginning of a recipe's name; recipes of the built-in pictures have their own.
SHRINKS = {
    'clearclip_': shrink_dense_clip,
    'clipseg_rd64': shrink_film,
    'fcclip_': shrink_fcclip,
    'fvlm_rn50': shrink_fvlm,
    'glip_swin': shrink_glip,
    'glipv2_swin': shrink_glip,
    'lseg_rn101_': shrink_lseg_episodes,
    'lseg_vit_l16_ade20k': shrink_lseg,
    'lseg_vit_l16_coco20i': shrink_lseg_episodes,
    'lseg_vit_l16_fss1000': shrink_lseg_episodes,
    'lseg_vit_l16_pascal5i': shrink_lseg_episodes,
    'maskclip_': shrink_dense_clip,
    'ovseg_r101c': shrink_mask_former,
    'ovseg_swin_b': shrink_mask_former,
    'ovseg_vit': shrink_region_namer,
    'proxyclip_': shrink_dense_clip,
    'regionclip_rn50': shrink_regionclip,
    'san_vit': shrink_san,
    'sclip_': shrink_dense_clip,
    'vild_r50': shrink_vild,
    'zegformer_r101': shrink_mask_former,
    'zsseg_prompts': shrink_region_prompts,
    'zsseg_r101c': shrink_mask_former,
}


def shrink_of(name: str) -> Callable[[Config], None]:
    """How a recipe is shrunk."""
    if '_pictures' in name:
        return shrink_pictures
    fitting = [shrink for start, shrink in SHRINKS.items() if name.startswith(start)]
    assert fitting, f'tests/recipes.py does not know how to shrink {name}; add it to SHRINKS'
    return fitting[0]
