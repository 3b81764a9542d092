"""GLIP-T (arXiv:2112.03857) fine-tuned on COCO: all 80 names in one prompt, in their order.

Give the pre-trained weights as load_from; they bring those of BERT.
"""

_base_ = ['_base_/glip_swin_t_tuned.py', '_base_/glip_finetuning.py', '_base_/glip_coco.py']
train_dataloader = dict(
    **_base_.load_loader,
    dataset=dict(
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[*_base_.load_pipeline, _base_.ask_coco],
        **_base_.coco,
    ),
)
