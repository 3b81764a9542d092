"""GLIP-T (arXiv:2112.03857) to be fine-tuned: the checkpoint that is given as load_from brings Swin and BERT."""

_base_ = ['glip_swin_t.py']
model = dict(backbone=dict(init_cfg=None), language_model=dict(pretrained=False))
