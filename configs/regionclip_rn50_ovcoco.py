"""RegionCLIP (arXiv:2112.09106) fine-tuned on OV-COCO: boxes of 48 words in training, 65 words at test, AP50.

Starts from the pre-trained tower (`regionclip_rn50_cc3m.py`, or the authors' file); with ``load_from=None`` from CLIP.
Proposals come from a frozen network of its own, in checkpoints/rpn_coco_48.pth. Data in data/coco.
"""

_base_ = [
    '_base_/regionclip_rn50.py',
    '_base_/regionclip_90k.py',
    '_base_/offline_rpn_r50_c4.py',
    '_base_/ovcoco_detection.py',
]
base_words = dict(_base_.train_words, only='base')

model = dict(
    proposals=_base_.proposals,
    roi_head=dict(
        bbox_head=dict(
            background_weight=0.2, loss_cls=dict(_delete_=True, type='vlm_dense.FocalSoftmaxLoss', gamma=0.5)
        )
    ),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        vocabulary=base_words,
        pipeline=[*_base_.load_800, dict(type='vlm_dense.AttachVocabulary', vocabulary=base_words)],
    ),
)
val_dataloader = dict(
    dataset=dict(pipeline=[*_base_.show_800, dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.all_words)])
)
test_dataloader = val_dataloader
load_from = 'checkpoints/regionclip_pretrained-cc_rn50.pth'
