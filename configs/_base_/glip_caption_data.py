# Objects365, GoldG and four million captions, whose phrases tools/pseudo_grounding.py gave the boxes that a GLIP-T (C)
# scores above 0.5; their pictures are in data/cap4m, in WebDataset shards or as files.
_base_ = ['glip_goldg_data.py']
cap4m = dict(_base_.odvg, data_root='data/cap4m/', ann_file='pseudo.jsonl', data_prefix=dict(img=''))
# By size again; what the authors did here is not published.
train_dataloader = dict(
    sampler=dict(weights=[660, 600, 150, 4000]),
    dataset=dict(datasets=[_base_.objects365, _base_.gqa_and_vg, _base_.flickr30k, cap4m]),
)
