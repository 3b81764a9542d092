"""FC-CLIP's scheme (arXiv:2308.02487) on the built-in pictures: one frozen classifier finds masks and names them.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP).
"""

_base_ = ['_base_/pictures_masks.py']

model = dict(
    decode_head=dict(query_embedding=dict(num_layers=3, pooled=True)),
    regions=dict(type='vlm_dense.PoolReader', kind='hard', logit_scale=20.0),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.4, novel_power=0.8, void='factor'),
)
