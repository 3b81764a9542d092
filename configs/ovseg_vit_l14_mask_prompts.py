"""OVSeg (arXiv:2210.04150), mask prompt tuning: the tokens of hidden patches learn alone, on the same pairs.

It starts from the tuned tower; model.tower.pretrained=openai gives the paper's variant without that stage.
"""

_base_ = ['ovseg_vit_l14_pairs.py']

model = dict(
    tower=dict(
        type='vlm_dense.MaskPromptedTower',
        pretrained='work_dirs/ovseg_vit_l14_pairs/epoch_5.pth',
        depth=3,
        prompts_only=True,
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=0.0))
