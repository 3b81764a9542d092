"""ZSSeg (arXiv:2112.14757) as published: MaskFormer with ResNet-101c and CLIP ViT-B/16, COCO-Stuff 156/15.

The words stand in one written prompt; learned ones: projects/zsseg/README.md.
"""

_base_ = [
    '_base_/mask_former_r101c.py',
    '_base_/mask_former_60k.py',
    '_base_/mask_former_steps_640.py',
    '_base_/cocostuff_156_15.py',
]
clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')

model = dict(
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='zsseg'
    ),
    regions=dict(
        type='vlm_dense.CropReader',
        tower=dict(type='vlm_dense.OpenClipTower', **clip),
        style='crop_and_mask',
        threshold=0.5,
    ),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.2, novel_power=0.8, void='own', empty='one'),
)
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_steps, _base_.attach_seen]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_steps, _base_.attach_all]))
test_dataloader = val_dataloader
