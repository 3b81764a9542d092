"""GLIP-T (A) (arXiv:2112.03857): Objects365 as grounding, text and image meet in the scores alone."""

_base_ = ['_base_/glip_swin_t.py', '_base_/glip_pretraining.py', '_base_/glip_pretraining_data.py']
model = dict(bbox_head=dict(early_fuse=False))
