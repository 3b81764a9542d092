"""`regionclip_rn50_lvis.py` with CLIP's RN50x4."""

_base_ = ['regionclip_rn50_lvis.py', '_base_/regionclip_rn50x4.py']
model = dict(
    _base_.x4,
    roi_head=dict(_base_.x4.roi_head, mask_head=dict(in_channels=2560)),
    train_cfg=dict(rcnn=dict(mask_size=18)),
)
load_from = 'checkpoints/regionclip_pretrained-cc_rn50x4.pth'
