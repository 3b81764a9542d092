"""GLIP-T (C) (arXiv:2112.03857): as (B), pre-trained on Objects365 and GoldG."""

_base_ = ['_base_/glip_swin_t.py', '_base_/glip_steps.py', '_base_/glip_goldg_data.py']
