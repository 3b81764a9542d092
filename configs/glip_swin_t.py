"""GLIP-T (arXiv:2112.03857): as (C), with captions whose phrases a GLIP-T (C) has given boxes."""

_base_ = ['_base_/glip_swin_t.py', '_base_/glip_pretraining.py', '_base_/glip_pretraining_data.py']
