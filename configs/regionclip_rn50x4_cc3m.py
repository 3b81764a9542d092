"""`regionclip_rn50_cc3m.py` with CLIP's RN50x4, as student and as teacher."""

_base_ = ['regionclip_rn50_cc3m.py', '_base_/regionclip_rn50x4.py']
region = dict(
    teacher=dict(tower=_base_.x4.backbone.tower, roi_extractor=_base_.x4.roi_head.bbox_roi_extractor),
    bank=_base_.x4.text_bank,
)
model = dict(_base_.x4, branches=dict(region=region, picture=dict(encoder=_base_.x4.text_bank.encoder)))
del region
