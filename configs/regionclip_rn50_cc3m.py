"""RegionCLIP (arXiv:2112.09106) pre-training: CLIP RN50 learns regions of CC3M's pictures from a frozen copy of itself.

96 pictures a step: 32 GPUs of 3, or --auto-scale-lr. Words of regions come from data/cc3m/concepts.json, which
tools/concept_pool.py makes; regions from a frozen network, in checkpoints/rpn_lvis_866.pth. Tested as the zero-shot
recipe is, on OV-COCO in data/coco.
"""

_base_ = ['regionclip_rn50_zeroshot.py', '_base_/cc3m_captions.py']
teacher = dict(tower=_base_.model.backbone.tower, stage=2, roi_extractor=_base_.model.roi_head.bbox_roi_extractor)

model = dict(
    backbone=dict(tune='stages:1', in_checkpoint=False),
    unnamed_batch='captions',
    # 100 of 300 regions learn.
    branches=dict(
        region=dict(
            type='vlm_dense.RegionConcepts',
            teacher=teacher,
            pool='data/cc3m/concepts.json',
            bank=_base_.model.text_bank,
            temperature=0.01,
            min_score=0.1,
            max_regions=100,
        ),
        picture=dict(type='vlm_dense.PictureCaptions', encoder=_base_.model.text_bank.encoder, temperature=0.01),
    ),
    proposals=dict(model=dict(test_cfg=dict(rpn=dict(max_per_img=300, nms=dict(iou_threshold=0.5))))),
)
train_dataloader = dict(_delete_=True, **_base_.caption_loader)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600_000, val_interval=600_000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.002, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1_000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[300_000, 525_000], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=96)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=20_000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
del teacher
