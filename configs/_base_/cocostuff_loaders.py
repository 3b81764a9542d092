"""COCO-Stuff 164k for training and test; a recipe adds words and the steps of the pictures."""

_base_ = ['segmentation_loaders.py', 'cocostuff.py']
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
        **_base_.cocostuff,
    )
)
val_dataloader = dict(dataset=dict(data_prefix=_base_.cocostuff_validation, test_mode=True, **_base_.cocostuff))
test_dataloader = val_dataloader
