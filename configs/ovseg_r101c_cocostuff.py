"""OVSeg (arXiv:2210.04150) as published: MaskFormer with ResNet-101c and the mask-prompted CLIP ViT-B/16, COCO-Stuff.

All 171 words are trained, with model.regions=None model.fusion=None: the tower comes later, from
ovseg_vit_b16_mask_prompts.py. The weight of its scores is that for ADE20K; projects/ovseg/README.md has the others.
"""

_base_ = [
    '_base_/mask_former_r101c.py',
    '_base_/mask_former_120k.py',
    '_base_/mask_former_steps_512.py',
    '_base_/cocostuff_171.py',
]
name = 'ViT-B-16-quickgelu'

model = dict(
    data_preprocessor=dict(size=(512, 512)),
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
            pretrained='work_dirs/ovseg_vit_b16_mask_prompts/epoch_5.pth',
            depth=3,
        ),
        style='crop_and_mask',
        threshold=0.5,
    ),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.7, novel_power=0.7, void='own', empty='one'),
)
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_steps, _base_.attach]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_steps, _base_.attach]))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=2e-4))
