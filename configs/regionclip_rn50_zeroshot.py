"""RegionCLIP (arXiv:2112.09106) without boxes to learn from: CLIP, or a pre-trained tower, names proposals of OV-COCO.

Boxes are the proposals themselves, and objectness enters the scores. With a pre-trained tower name its checkpoint in
tools/test.py. Proposals come from checkpoints/rpn_lvis_866.pth. Data in data/coco.
"""

_base_ = [
    '_base_/regionclip_rn50.py',
    '_base_/detection_runtime.py',
    '_base_/offline_rpn_r50_fpn.py',
    '_base_/ovcoco_detection.py',
]

model = dict(
    proposals=_base_.proposals,
    # What a pre-trained tower's checkpoint holds goes before CLIP's weights.
    backbone=dict(tune='none', in_checkpoint=True),
    roi_head=dict(objectness='geometric_mean_logit', bbox_head=dict(with_reg=False)),
    train_cfg=None,
    test_cfg=dict(rcnn=dict(nms=dict(_delete_=True, type='nms', iou_threshold=0.5))),
)
model['proposals']['model']['test_cfg']['rpn']['nms']['iou_threshold'] = 0.9
train_dataloader = None
test_dataloader = dict(
    dataset=dict(pipeline=[*_base_.show_800, dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.all_words)])
)
val_dataloader = test_dataloader
