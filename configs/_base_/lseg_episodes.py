"""LSeg's few-shot experiments without shots: each picture has two words, and is squeezed to 480 x 480 pixels."""

_base_ = ['segmentation_runtime.py']
resize = dict(type='Resize', scale=(480, 480), keep_ratio=False)
load = [dict(type='LoadImageFromFile', imdecode_backend='pillow')]
pack = [dict(type='PackSegInputs'), dict(type='vlm_dense.AttachVocabulary')]  # the words of the picture's episode
labels = dict(type='vlm_dense.LoadLabelMap')

train_dataloader = dict(
    batch_size=20,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=[*load, labels, resize, *pack]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True, pipeline=[*load, resize, labels, *pack]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.ForegroundIoUMetric')
test_evaluator = val_evaluator

# The authors' rate is 0.004 / 16 times the episodes of one process, whose support pictures are learned too: 20 pictures
# are 10 episodes. What is not pre-trained learns ten times faster.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.004 / 16 * 10, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10), 'decode_head.reassemble': dict(lr_mult=1)}),
)
