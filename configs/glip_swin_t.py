"""GLIP-T (arXiv:2112.03857): as (C), with captions whose phrases a GLIP-T (C) has given boxes."""

_base_ = ['_base_/glip_swin_t.py', '_base_/glip_steps.py', '_base_/glip_caption_data.py']
