"""ZSSeg (arXiv:2112.14757), its first stage: 16 vectors before each word learn on crops of true masks, CLIP is frozen.

tools/word_regions.py draws 32 regions of each of COCO-Stuff's 156 seen words. 16,000 steps of 32, on one GPU.
"""

_base_ = ['_base_/detection_runtime.py']
clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
steps = 16_000

model = dict(
    type='vlm_dense.RegionPrompts',
    data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True),
    tower=dict(type='vlm_dense.OpenClipTower', **clip),
    prompts=dict(
        type='vlm_dense.LearnedPrompts', encoder=dict(type='vlm_dense.OpenClipTextTower', **clip), num_context=16
    ),
    temperature=0.01,
)

load = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='vlm_dense.CutMaskedRegion', size=224),
]
regions = dict(type='vlm_dense.MaskNounDataset', data_root='data/coco_stuff164k', all_nouns=True)
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='word_regions_train2017.jsonl',
        data_prefix=dict(img='images/train2017'),
        remedy='draw the regions with tools/word_regions.py.',
        pipeline=[*load, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')],
        **regions,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='word_regions_val2017.jsonl',
        data_prefix=dict(img='images/val2017'),
        remedy='draw the regions with tools/word_regions.py --part val.',
        pipeline=[*load, dict(type='PackDetInputs')],
        test_mode=True,
        **regions,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.RegionNamingMetric')
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=1_000)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='ConstantLR', factor=0.005, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=steps),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1_000, max_keep_ckpts=3))
custom_hooks = [dict(type='vlm_dense.SaveContextsHook')]
log_processor = dict(by_epoch=False)
