"""ZSSeg's scheme (arXiv:2112.14757) on the built-in pictures: masked crops, one blend for seen words, one for unseen.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). The masks are
Mask2Former's.
"""

_base_ = ['_base_/pictures_masks.py']

model = dict(
    decode_head=dict(query_embedding=dict(num_layers=2)),
    regions=dict(type='vlm_dense.CropReader', tower=_base_.tower, style='crop_and_mask', logit_scale=30.0),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.2, novel_power=0.8, void='own', empty='one'),
)
