# Objects365 and GoldG: captions of Flickr30k Entities, and of GQA and Visual Genome without the pictures of COCO.
# tools/data/goldg_to_odvg.py makes the .jsonl of MDETR's files of the same names.
_base_ = ['glip_pretraining_data.py']
odvg = dict(
    type='vlm_dense.GroundingDataset',
    data_prefix=dict(img='images/'),
    pipeline=[*_base_.load_pipeline, _base_.ask_some],
    remedy='get the pictures, and write what is known of them as ODVG lines (docs/datasets.md).',
)
gqa_and_vg = dict(odvg, data_root='data/gqa/', ann_file='final_mixed_train_no_coco.jsonl')
flickr30k = dict(
    odvg,
    data_root='data/flickr30k_entities/',
    ann_file='final_flickr_separateGT_train.jsonl',
    data_prefix=dict(img='flickr30k_images/'),
)
# Thousands of pictures of each: the authors concatenate their sets.
train_dataloader = dict(
    sampler=dict(_delete_=True, type='vlm_dense.WeightedMix', weights=[660, 600, 150]),
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[_base_.objects365, gqa_and_vg, flickr30k]),
)
