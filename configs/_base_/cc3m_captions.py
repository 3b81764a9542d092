# CC3M's captions in data/cc3m, in the shards that img2dataset writes as webdataset.
# There are no boxes: a sample brings its caption, `text`, and the noun phrases in it as its words.
caption_loader = dict(
    batch_size=3,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='vlm_dense.CaptionShards',
        data_root='data/cc3m/',
        shards='{00000..00331}.tar',
        damaged='report',
        remedy='download CC3M with img2dataset, output_format webdataset, into data/cc3m.',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(1333, 800), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    ),
)
