"""RegionCLIP (arXiv:2112.09106), pre-training on the built-in pictures, small enough for two CPU cores.

A frozen ImageNet classifier gives random boxes the words of a pool, and the detector's projection, which starts at the
classifier's own embedding, learns them; whole pictures learn their captions. The pool has the words that captions of
the training scenes name, so none is novel.
"""

_base_ = ['_base_/pictures_small_detector.py', '_base_/pictures_captions.py']
text = _base_.model.text_bank
teacher = dict(tower=_base_.tower, roi_extractor=_base_.last_map_rois, stage=3, memory_bytes=_base_.memory)

model = dict(
    backbone=dict(out_indices=(3,)),
    neck=None,
    rpn_head=None,
    proposals=dict(type='vlm_dense.RandomProposals', count=300, min_side=0.2, max_side=0.7),
    unnamed_batch='captions',
    roi_head=dict(
        bbox_head=dict(
            with_reg=False,
            box_trunk=None,
            classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.05, background='zero'),
        )
    ),
    branches=dict(
        region=dict(
            type='vlm_dense.RegionConcepts',
            teacher=teacher,
            pool=_base_.base_words,
            bank=text,
            temperature=0.05,
            min_score=0.1,
            max_regions=16,
        ),
        picture=dict(type='vlm_dense.PictureCaptions', encoder=text.encoder, temperature=0.05),
    ),
    test_cfg=dict(rcnn=dict(max_per_img=100)),
)
steps = 75  # once through the 300 pictures
train_cfg = dict(max_iters=steps, val_interval=steps)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=8),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=8, end=steps),
]
default_hooks = dict(checkpoint=dict(interval=steps))
# Without flips a picture goes through the frozen towers once.
captions = dict(
    _base_.train_captions,
    _delete_=True,
    remedy=_base_.remedy,
    pipeline=[step for step in _base_.train_pipeline[:-1] if step['type'] != 'LoadAnnotations'],
)
train_dataloader = dict(dataset=captions)
del captions, teacher, text
