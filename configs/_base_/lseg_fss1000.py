"""FSS-1000: learned on 520 classes, watched on 240, tested on 240 others."""

_base_ = ['lseg_episodes.py']
folders = dict(
    type='vlm_dense.FolderEpisodes',
    data_root='data/fss1000',
    data_prefix=dict(img_path='pictures', seg_map_path='maps'),
)

train_dataloader = dict(dataset=dict(ann_file='episodes/trn.txt', **folders))
val_dataloader = dict(dataset=dict(ann_file='episodes/val.txt', **folders))
test_dataloader = dict(dataset=dict(ann_file='episodes/test.txt', **folders))

# The default of the authors' script is 200 passes with two pictures an episode.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=400, val_interval=20)
param_scheduler = dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=400, by_epoch=True)
default_hooks = dict(checkpoint=dict(interval=20))
