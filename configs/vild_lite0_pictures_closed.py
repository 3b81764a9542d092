"""Control of vild_lite0_pictures: one weight row per base word in place of text, so novel words score 0."""

_base_ = ['vild_lite0_pictures.py']

model = dict(
    branches=dict(_delete_=True),
    roi_head=dict(
        bbox_head=dict(
            distill='none',
            classifier=dict(
                _delete_=True, type='vlm_dense.LinearClassifier', vocabulary='data/pictures/vocabulary.json'
            ),
        )
    ),
)
