"""OVSeg (arXiv:2210.04150) as published: MaskFormer with Swin-B and the mask-prompted CLIP ViT-L/14, COCO-Stuff.

As ovseg_r101c_cocostuff.py; the tower is that of ovseg_vit_l14_mask_prompts.py.
"""

_base_ = [
    '_base_/mask_former_swin_b.py',
    '_base_/mask_former_120k.py',
    '_base_/mask_former_steps_640.py',
    '_base_/cocostuff_171.py',
]
name = 'ViT-L-14-quickgelu'

model = dict(
    decode_head=dict(classifier=dict(embed_dim=768)),
    text_bank=dict(
        type='vlm_dense.TextBank',
        encoder=dict(type='vlm_dense.OpenClipTextEncoder', name=name, pretrained='openai'),
        prompt='vild_14',
    ),
    regions=dict(
        type='vlm_dense.CropReader',
        tower=dict(
            type='vlm_dense.MaskPromptedTower',
            name=name,
            pretrained='work_dirs/ovseg_vit_l14_mask_prompts/epoch_5.pth',
            depth=3,
        ),
        style='crop_and_mask',
        threshold=0.4,
    ),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.7, novel_power=0.7, void='own', empty='one'),
)
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_steps, _base_.attach]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_steps, _base_.attach]))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            query_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
        )
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1_500),
    dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=120_000),
]
