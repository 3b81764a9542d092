"""`regionclip_rn50_ovcoco.py` with CLIP's RN50x4."""

_base_ = ['regionclip_rn50_ovcoco.py', '_base_/regionclip_rn50x4.py']
model = _base_.x4
load_from = 'checkpoints/regionclip_pretrained-cc_rn50x4.pth'
