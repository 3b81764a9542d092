"""COCO-Stuff 164k in mmseg's usual place, for training and test; a recipe adds words and the steps of the pictures."""

cocostuff = dict(
    type='vlm_dense.VocabularySegDataset',
    background=False,
    img_suffix='.jpg',
    seg_map_suffix='_labelTrainIds.png',
    data_root='data/coco_stuff164k',
    remedy="unpack COCO's pictures and stuffthingmaps_trainval2017.zip and run mmseg's converter coco_stuff164k.py.",
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
        **cocostuff,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        test_mode=True,
        **cocostuff,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator
