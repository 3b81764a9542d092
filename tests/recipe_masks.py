"""How recipes that name masks are shrunk."""

from typing import Any

from mmengine.config import Config
from recipe_parts import CLIP_WIDTH, tiny_clip_convnext, tiny_clip_resnet, tiny_clip_text, tiny_clip_vit
from recipe_steps import SIDE, loaders_of, narrow, steps_of


def shrink_san(config: Config) -> None:
    """CLIP's first blocks, the side network, and CLIP's last blocks."""
    model = config.model
    model.clip = None
    model.text_bank = dict(type='vlm_dense.HashedBank')
    model.image_encoder.update(embed_dims=32, num_heads=2)
    head = model.decode_head
    head.maskgen_cfg.update(embed_dims=32, num_heads=2, sos_token_num=10, out_dims=CLIP_WIDTH)
    head.san_cfg.update(clip_channels=32, embed_dims=24, num_queries=10)
    head.san_cfg.cfg_decoder.update(num_heads=2, embed_channels=16, mlp_channels=16)
    head.train_cfg.num_points = 64
    # Random embeddings are far from any word, where CLIP's scale makes every step overshoot.
    head.classifier.update(embed_dim=CLIP_WIDTH, temperature=0.1)
    model.data_preprocessor.size = (SIDE, SIDE)
    for step in steps_of(config):
        if step.type == 'RandomChoiceResize':
            step.scales = [SIDE]
        if step.type == 'ResizeShortestEdge':
            step.scale = (SIDE, SIDE)
        if step.type == 'RandomCrop':
            step.crop_size = (SIDE, SIDE)


def shrink_region_namer(config: Config) -> None:
    """CLIP's ViT on masked regions."""
    config.model.tower.update(name=tiny_clip_vit(blocks=4), pretrained=None)
    bank = config.model.text_bank
    bank.bank.encoder = dict(type='vlm_dense.HashedEncoder')
    bank.prompts = 'single'
    # A random tower is far from any word, where a scale of 100 makes every step overshoot.
    config.model.loss.scale = 10.0
    for step in steps_of(config):
        if step.type == 'vlm_dense.CutMaskedRegion':
            step.size = SIDE


def shrink_mask2former(head: Any) -> None:
    """Mask2Former's head, 32 wide; types and structure stay."""
    head.update(feat_channels=32, out_channels=32, num_queries=12, train_cfg=dict(num_points=64))
    encoder, decoder = head.pixel_decoder.encoder, head.transformer_decoder
    encoder.num_layers, decoder.num_layers = 1, 2
    head.positional_encoding.num_feats = head.pixel_decoder.positional_encoding.num_feats = 16
    for layer in (encoder.layer_cfg, decoder.layer_cfg):
        layer.ffn_cfg.update(embed_dims=32, feedforward_channels=48)
        for attention in (part for name, part in layer.items() if name.endswith('attn_cfg')):
            attention.update(embed_dims=32, num_heads=4)


def shrink_fcclip(config: Config) -> None:
    """CLIP's ConvNeXt or ResNet with Mask2Former's head."""
    model = config.model
    model.text_bank = dict(type='vlm_dense.NamesBank')
    tower = model.backbone.tower
    name, channels = (
        (tiny_clip_resnet(), [64, 128, 256, 512])
        if tower.name.startswith('RN')
        else (tiny_clip_convnext(), [24, 32, 48, 64])
    )
    tower.update(name=name, pretrained=None)
    shrink_mask2former(model.mask_head)
    model.mask_head.in_channels = channels
    model.mask_head.classifier.embed_dim = CLIP_WIDTH
    model.data_preprocessor.batch_augments[0].size = (SIDE, SIDE)
    for loader in loaders_of(config):
        narrow(loader.dataset)


def shrink_mask_former(config: Config) -> None:
    """MaskFormer's head on ResNet-101 or Swin-B, with CLIP's ViT on crops."""
    model = config.model
    backbone, head = model.backbone, model.decode_head
    if backbone.type == 'ResNet':
        backbone.update(base_channels=8, stem_channels=8, init_cfg=None)
        head.in_channels = [32, 64, 128, 256]
    else:
        backbone.update(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], window_size=3, init_cfg=None)
        head.in_channels = [16, 32, 64, 128]
    head.update(feat_channels=32, out_channels=32, num_queries=6)
    head.positional_encoding.num_feats = 16
    layers = head.transformer_decoder
    layers.num_layers = 2
    for attention in (layers.layer_cfg.self_attn_cfg, layers.layer_cfg.cross_attn_cfg):
        attention.update(embed_dims=32, num_heads=2, attn_drop=0.0, proj_drop=0.0)
    layers.layer_cfg.ffn_cfg.update(embed_dims=32, feedforward_channels=32, ffn_drop=0.0)
    # Random words are far from any query, where a temperature of 0.01 makes every step overshoot.
    head.classifier.update(embed_dim=CLIP_WIDTH, temperature=0.1)
    for bank in {'text_bank', 'region_bank'} & set(model):
        model[bank] = dict(type='vlm_dense.HashedBank')
    model.regions.tower.update(name=tiny_clip_vit(blocks=4), pretrained=None)
    model.data_preprocessor.size = (SIDE, SIDE)
    for step in steps_of(config):
        if step.type == 'RandomChoiceResize':
            step.scales = [SIDE]
        if step.type == 'RandomCrop':
            step.crop_size = (SIDE, SIDE)
        if step.type == 'Resize':
            step.scale = (4 * SIDE, SIDE)


def shrink_region_prompts(config: Config) -> None:
    """CLIP's ViT on masked regions, and its text half with few vectors."""
    config.model.tower.update(name=tiny_clip_vit(blocks=4), pretrained=None)
    config.model.prompts.encoder.update(name=tiny_clip_text(), pretrained=None)
    config.model.prompts.num_context = 4
    config.model.temperature = 0.1
    for step in steps_of(config):
        if step.type == 'vlm_dense.CutMaskedRegion':
            step.size = SIDE
