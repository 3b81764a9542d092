"""F-VLM (arXiv:2209.15639) as published: frozen CLIP RN50, LVIS v1 without rare boxes.

Data in data/lvis_v1 (annotations, train2017, val2017), as mmdet lays it out.
"""

_base_ = ['_base_/fvlm_rn50.py', '_base_/lvis_detection.py']
base_words = dict(_base_.train_words, only='base')

train_dataloader = dict(
    dataset=dict(
        vocabulary=base_words,
        pipeline=[*_base_.load_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=base_words)],
    )
)
