# The training scenes of the built-in pictures as captions, whose phrases have the boxes.
train_captions = dict(
    type='vlm_dense.GroundingDataset',
    data_root='data/pictures/',
    ann_file='train_odvg.jsonl',
    data_prefix=dict(img=''),
)
