"""RegionCLIP (arXiv:2112.09106), fine-tuned on base boxes of the built-in pictures, on two CPU cores.

Starts from `regionclip_lite0_pictures_pretrain.py`. The words are an ImageNet classifier's, bridged to free text by a
sentence encoder (not CLIP); the classifier is the frozen backbone.
"""

_base_ = ['_base_/pictures_small_detector.py']

model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.05, background='zero'),
            background_weight=0.2,
            loss_cls=dict(type='vlm_dense.FocalSoftmaxLoss', gamma=0.5),
        ),
        objectness='geometric_mean',
    ),
)
load_from = 'work_dirs/regionclip_lite0_pictures_pretrain/iter_75.pth'
