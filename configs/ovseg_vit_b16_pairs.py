"""OVSeg (arXiv:2210.04150), tuning CLIP: the ViT-L/14 recipe with ViT-B/16, 512 pairs a step, 4 GPUs of 128."""

_base_ = ['ovseg_vit_l14_pairs.py']
name = 'ViT-B-16-quickgelu'

model = dict(tower=dict(name=name), text_bank=dict(bank=dict(encoder=dict(name=name))))
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=512)
