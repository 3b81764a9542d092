"""ZegFormer's scheme (arXiv:2112.07910) on the built-in pictures: crops of masks, no say between seen words.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). What surrounds a mask
stays in its crop, the style that suits this classifier, which never saw blank areas. The masks are Mask2Former's.
"""

_base_ = ['_base_/pictures_masks.py']

model = dict(
    decode_head=dict(query_embedding=dict(num_layers=1), classifier=dict(void='learned_raw')),
    regions=dict(type='vlm_dense.CropReader', tower=_base_.tower, style='crop', logit_scale=30.0),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=1 / 3, novel_power=2 / 3, seen_mean=True, void='shared'),
)
