"""COCO-20i: learned on the classes of three folds (COCO train2014), tested on those of the fourth (val2014)."""

_base_ = ['lseg_episodes.py']
episodes = dict(
    type='vlm_dense.FoldEpisodes',
    data_root='data/coco',
    ann_file='episodes',
    data_prefix=dict(img_path='.', seg_map_path='annotations'),
    vocabulary=dict(file='{{fileDirname}}/../../vlm_dense/datasets/vocabularies/coco20i.json'),
    layout='stride',
    fold=0,  # in all three loaders
)

# Every class is learned equally often.
train_dataloader = dict(
    sampler=dict(type='mmdet.ClassAwareSampler', _delete_=True), dataset=dict(part='trn', **episodes)
)
val_dataloader = dict(dataset=dict(draw='classes', **episodes))
test_dataloader = dict(dataset=dict(draw='classes', **episodes))

# The authors stop after 4 passes over the pictures with two pictures an episode; their rate falls as if there were 200.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=1)
param_scheduler = dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=250, by_epoch=True)
default_hooks = dict(checkpoint=dict(interval=1))
