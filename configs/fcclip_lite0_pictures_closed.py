"""Control of fcclip_lite0_pictures: one weight row per base word in place of text, so unseen words are never found.

Goes on from the method's checkpoint, whose masks it keeps improving; what reads their words in the frozen classifier's
map is gone.
"""

_base_ = ['fcclip_lite0_pictures.py']
steps = 150

model = dict(
    regions=None,
    fusion=None,
    decode_head=dict(
        classifier=dict(
            _delete_=True,
            type='vlm_dense.LinearClassifier',
            embed_dim=1280,
            vocabulary='data/pictures/vocabulary.json',
            void=True,
        )
    ),
)
load_from = 'work_dirs/fcclip_lite0_pictures/iter_800.pth'
# The new rows learn fast, what found the masks slowly.
optim_wrapper = dict(
    optimizer=dict(lr=2e-4), paramwise_cfg=dict(custom_keys={'decode_head.classifier': dict(lr_mult=50)})
)
train_cfg = dict(max_iters=steps, val_interval=steps)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=10, end=steps),
]
default_hooks = dict(checkpoint=dict(interval=steps))
