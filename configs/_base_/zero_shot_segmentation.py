"""Testing without training: one picture at a time, no word counts as seen. A recipe adds data and pipeline."""

_base_ = ['segmentation_runtime.py']
test_dataloader = dict(batch_size=1, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = test_dataloader
test_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
val_evaluator = test_evaluator
