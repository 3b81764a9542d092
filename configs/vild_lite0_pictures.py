"""ViLD-ensemble (arXiv:2104.13921) on the built-in pictures, small enough for two CPU cores.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). The frozen classifier is
both backbone and teacher; both projections start as the identity, that is, at the teacher's own embedding.
"""

_base_ = ['_base_/pictures_small_detector.py']
teacher = dict(type='vlm_dense.ImageNetTower', center=_base_.center)

model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(
                type='vlm_dense.EmbeddingClassifier', temperature=0.05, background='learned', novel='zero_logit'
            ),
            distill='separate',
            image_classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.1),
            base_power=1 / 3,
            novel_power=2 / 3,
        )
    ),
    branches=dict(
        image=dict(
            type='vlm_dense.DistillRegions',
            teacher=dict(tower=teacher, scales=(1.0, 1.5), size=160, memory_bytes=_base_.memory),
            weight=0.5,
            max_regions=2,
            nms_iou=0.5,
            with_truth=True,
        )
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'bbox_head.image_projection': dict(lr_mult=0.03)}))
