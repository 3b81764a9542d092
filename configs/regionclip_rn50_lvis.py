"""RegionCLIP (arXiv:2112.09106) fine-tuned on LVIS v1 without rare boxes: all 1,203 words at test, masks too.

Starts from the pre-trained tower (`regionclip_rn50_cc3m.py`, or the authors' file); with ``load_from=None`` from CLIP.
Proposals come from a frozen network of its own, in checkpoints/rpn_lvis_866_lsj.pth. Data in data/lvis_v1.
"""

_base_ = [
    '_base_/regionclip_rn50.py',
    '_base_/regionclip_90k.py',
    '_base_/offline_rpn_r50_fpn.py',
    '_base_/lvis_detection.py',
]
base_words = dict(_base_.train_words, only='base')
rpn, norm = _base_.proposals.model, dict(type='BN', requires_grad=False)

model = dict(
    # Trained with large-scale jitter: norms in the pyramid, two convolutions before the outputs.
    proposals=dict(
        _base_.proposals,
        checkpoint='checkpoints/rpn_lvis_866_lsj.pth',
        model=dict(rpn, neck=dict(rpn.neck, norm_cfg=norm), rpn_head=dict(rpn.rpn_head, num_convs=2)),
    ),
    roi_head=dict(
        objectness='geometric_mean_logit',
        bbox_head=dict(background_weight=0.8),
        mask_head=dict(
            type='FCNMaskHead', num_convs=0, in_channels=2048, conv_out_channels=256, class_agnostic=True, num_classes=1
        ),
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.02, max_per_img=300)),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=0.001,
        dataset=dict(
            _base_.train_dataloader.dataset,
            vocabulary=base_words,
            pipeline=[*_base_.load_800, dict(type='vlm_dense.AttachVocabulary', vocabulary=base_words)],
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(pipeline=[*_base_.show_800, dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.all_words)])
)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=180_000, val_interval=60_000)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], milestones=[120_000, 160_000])]
load_from = 'checkpoints/regionclip_pretrained-cc_rn50.pth'
