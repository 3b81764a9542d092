"""ZegFormer (arXiv:2112.07910) on ADE20K's 847 words, 572 of them seen, on MaskFormer's schedule for this data set.

200,000 steps of 16 pictures, 8 GPUs of 2. Which words are seen: projects/zegformer/README.md.
"""

_base_ = [
    '_base_/zegformer_r101.py',
    '_base_/mask_former_60k.py',
    '_base_/mask_former_steps_512.py',
    '_base_/ade20k_847.py',
]
steps = 200_000
ignored = 65535
train_steps = [
    {**step, 'ignore_index': ignored} if step['type'] == 'RandomCrop' else step for step in _base_.train_steps
]

model = dict(ignore_index=ignored, data_preprocessor=dict(size=(512, 512), seg_pad_val=ignored))
train_dataloader = dict(dataset=dict(pipeline=[*train_steps, _base_.attach_seen]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_steps, _base_.attach_all]))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=steps)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=steps)]
auto_scale_lr = dict(base_batch_size=16)
