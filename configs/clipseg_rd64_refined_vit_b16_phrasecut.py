"""CLIPSeg (arXiv:2112.10003) with the refined enlargement, trained two and a half times as long."""

_base_ = ['clipseg_rd64_vit_b16_phrasecut.py']
steps = 50000

model = dict(decode_head=dict(refined=True))
train_cfg = dict(max_iters=steps, val_interval=steps)
param_scheduler = dict(end=steps)
