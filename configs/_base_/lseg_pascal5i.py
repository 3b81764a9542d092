"""PASCAL-5i: learned on the classes of three folds (VOC 2012 and SBD), tested on those of the fourth."""

_base_ = ['lseg_episodes.py']
episodes = dict(
    type='vlm_dense.FoldEpisodes',
    data_root='data/VOCdevkit/VOC2012',
    ann_file='ImageSets/Episodes',
    vocabulary=dict(file='{{fileDirname}}/../../vlm_dense/datasets/vocabularies/voc20.json'),
    layout='blocks',
    fold=0,  # in all three loaders
)
tested = dict(draw='cycle', data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'), **episodes)

train_dataloader = dict(
    dataset=dict(part='trn', data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'), **episodes)
)
val_dataloader = dict(dataset=tested)
test_dataloader = dict(dataset=tested)

# The authors stop after 4 passes with two pictures an episode; their rate falls as if there were 200.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=2)
param_scheduler = dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=400, by_epoch=True)
default_hooks = dict(checkpoint=dict(interval=2))
