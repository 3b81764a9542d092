"""LSeg (arXiv:2201.03546) zero-shot on PASCAL-5i: ViT-L/16, DPT decoder, CLIP ViT-B/32 words.

Weights of the backbone: see projects/lseg/README.md.
"""

_base_ = ['_base_/lseg_pascal5i.py', '_base_/lseg_vit_l16.py']
model = dict(type='vlm_dense.OwnWordsSegmentor')
