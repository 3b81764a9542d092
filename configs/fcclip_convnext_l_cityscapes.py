"""FC-CLIP (arXiv:2308.02487) with the weights of fcclip_convnext_l_coco.py, at its picture size for Cityscapes."""

_base_ = ['fcclip_convnext_l_coco.py']
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=(2560, 1024), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
