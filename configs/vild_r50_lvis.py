"""ViLD-ensemble (arXiv:2104.13921) as published: Mask R-CNN R50-FPN, CLIP ViT-B/32, LVIS v1 without rare boxes.

ViLD-text: roi_head.bbox_head.distill='none' and branches={}. ViLD: distill='shared'.
Data in data/lvis_v1 (annotations, train2017, val2017), as mmdet lays it out.
"""

_base_ = ['_base_/mask_rcnn_r50_fpn_ov.py', '_base_/vild_180k.py']
custom_imports = dict(imports=['vlm_dense.registry'])
root = 'data/lvis_v1/'
# All words stand in the training softmax; the novel ones have no objects, and their logits are multiplied by zero.
train_words = dict(file=root + 'annotations/lvis_v1_train.json')
all_words = dict(file=root + 'annotations/lvis_v1_val.json')
clip = dict(name='ViT-B-32-quickgelu', pretrained='openai')

model = dict(
    text_bank=dict(
        type='vlm_dense.TextBank',
        encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip),
        prompt='vild',
        synonyms='mean',  # LVIS's annotations bring them
    ),
    roi_head=dict(bbox_head=dict(distill='separate', base_power=1 / 3, novel_power=2 / 3)),
    branches=dict(
        image=dict(
            type='vlm_dense.DistillRegions',
            teacher=dict(tower=dict(type='vlm_dense.OpenClipTower', **clip), scales=(1.0, 1.5), fit='center'),
            weight=0.5,
            max_regions=300,
        )
    ),
)

remedy = 'download LVIS v1 (lvisdataset.org) and the COCO 2017 pictures into data/lvis_v1.'
data = dict(type='vlm_dense.VocabularyCocoDataset', data_root=root, data_prefix=dict(img=''), remedy=remedy)
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='annotations/lvis_v1_train.json',
        vocabulary=train_words,
        objects='base',
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[*_base_.load_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=train_words)],
        **data,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/lvis_v1_val.json',
        vocabulary=all_words,
        test_mode=True,
        pipeline=[*_base_.show_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)],
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='vlm_dense.BaseNovelBoxMetric',
    ann_file=root + 'annotations/lvis_v1_val.json',
    iou_types=('bbox', 'segm'),
    lvis_style=True,
)
test_evaluator = val_evaluator
del data, remedy, root, clip
