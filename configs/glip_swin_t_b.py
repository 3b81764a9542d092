"""GLIP-T (B) (arXiv:2112.03857): Objects365 as grounding, text and image fused before every block of the head."""

_base_ = ['_base_/glip_swin_t.py', '_base_/glip_pretraining.py', '_base_/glip_pretraining_data.py']
