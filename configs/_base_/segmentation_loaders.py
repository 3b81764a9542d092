"""Loaders of recipes that train by steps, tested on seen and unseen words; a recipe adds the data."""

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator
