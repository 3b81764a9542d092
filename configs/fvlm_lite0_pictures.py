"""F-VLM (arXiv:2209.15639) on the built-in pictures, small enough for two CPU cores.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). The frozen classifier is
both the backbone and the second opinion at test; the detector's projection starts as the identity, at its embedding.
"""

_base_ = ['_base_/pictures_small_detector.py']

model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.05, learn_temperature=True),
            background_weight=0.9,
        )
    ),
    region_scorer=dict(
        type='vlm_dense.TowerRegionScorer',
        roi_extractor=_base_.last_map_rois,
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=1280, temperature=0.05, background=None),
        base_power=0.35,
        novel_power=0.65,
    ),
    test_cfg=dict(rpn=dict(max_per_img=30)),
)
