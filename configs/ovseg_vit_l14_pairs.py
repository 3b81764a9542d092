"""OVSeg (arXiv:2210.04150), tuning CLIP: ViT-L/14's image encoder learns masked regions with nouns of COCO's captions.

128 pairs a step: 4 GPUs of 32. tools/mask_nouns.py makes the pairs, with this config's tower as it is before training.
What the paper does not say, betas, weight decay and the cosine, is open_clip's default for vision transformers.
"""

_base_ = ['_base_/detection_runtime.py']
clip = dict(name='ViT-L-14-quickgelu', pretrained='openai')

model = dict(
    type='vlm_dense.RegionNamer',
    data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True),
    tower=dict(type='vlm_dense.OpenClipTower', **clip),
    text_bank=dict(
        type='vlm_dense.DrawnPromptBank',
        bank=dict(
            type='vlm_dense.TextBank',
            encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip),
            prompt='vild_14',
            cache_dir=None,  # nouns come with the pictures
        ),
        prompts='vild_14',
    ),
    loss=dict(type='vlm_dense.GatheredContrast', scale=100.0, learn_scale=False),  # CLIP's
)

pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='vlm_dense.CutMaskedRegion', size=224),
    dict(type='PackDetInputs'),
]
pairs = dict(type='vlm_dense.MaskNounDataset', data_root='data/coco', pipeline=pipeline)
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='mask_nouns_train2017.jsonl', data_prefix=dict(img='train2017'), **pairs),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='mask_nouns_val2017.jsonl',
        data_prefix=dict(img='val2017'),
        all_nouns=True,
        test_mode=True,
        **pairs,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.RegionNamingMetric')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=1)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=5, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
