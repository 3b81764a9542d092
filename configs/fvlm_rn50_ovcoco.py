"""F-VLM (arXiv:2209.15639) on OV-COCO: frozen CLIP RN50, boxes of 48 words in training, 65 words at test, AP50.

Boxes only, as the authors' COCO settings. Data in data/coco.
"""

_base_ = ['_base_/fvlm_rn50.py', '_base_/ovcoco_detection.py']
base_words = dict(_base_.train_words, only='base')

model = dict(
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    test_cfg=dict(rcnn=dict(score_thr=0.05, max_per_img=100)),
)
train_dataloader = dict(
    dataset=dict(
        vocabulary=base_words,
        pipeline=[*_base_.load_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=base_words)],
    )
)
