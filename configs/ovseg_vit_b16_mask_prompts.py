"""OVSeg (arXiv:2210.04150), mask prompt tuning of ViT-B/16."""

_base_ = ['ovseg_vit_b16_pairs.py']

model = dict(
    tower=dict(
        type='vlm_dense.MaskPromptedTower',
        pretrained='work_dirs/ovseg_vit_b16_pairs/epoch_5.pth',
        depth=3,
        prompts_only=True,
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=0.0))
