# FourODs (Objects365, Open Images, Visual Genome, ImageNet's boxes), GoldG and 24 million captions, labelled as those
# of glip_caption_data.py. Open Images' lines list the names known to be absent under "absent".
_base_ = ['glip_goldg_data.py']
detection = dict(_base_.odvg, ann_file='train.jsonl', label_map='label_map.json')
open_images = dict(detection, data_root='data/openimages/')
visual_genome = dict(detection, data_root='data/visual_genome/')
imagenet_boxes = dict(detection, data_root='data/imagenet_boxes/')
cap24m = dict(_base_.odvg, data_root='data/cap24m/', ann_file='pseudo.jsonl', data_prefix=dict(img=''))
# Thousands of draws: sizes times copies (2, 4, 8, 1, 3, 2) as the release notes them; of the captions, their number.
train_dataloader = dict(
    sampler=dict(weights=[2800, 2400, 1200, 2000, 1200, 1330, 24_000]),
    dataset=dict(
        datasets=[
            _base_.objects365,
            _base_.gqa_and_vg,
            _base_.flickr30k,
            open_images,
            visual_genome,
            imagenet_boxes,
            cap24m,
        ]
    ),
)
