"""`regionclip_rn50_zeroshot.py` with CLIP's RN50x4."""

_base_ = ['regionclip_rn50_zeroshot.py', '_base_/regionclip_rn50x4.py']
model = _base_.x4
