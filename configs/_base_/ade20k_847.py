"""ADE20K with 847 words, as tools/data/prepare.py ade20k_847 --train lays it out: 572 are trained, all are asked.

tools/data/frequent_words.py makes the split. 255 is a word, so 65535 is what counts for nothing.
A recipe adds the steps of the pictures, then `attach_seen` or `attach_all`.
"""

_base_ = ['segmentation_loaders.py']
word_file = 'data/ade/ADE20K_2021_17_01/words_572_275.json'
seen_words = dict(file=word_file, only='base')
all_words = dict(file=word_file)
attach_seen = dict(type='vlm_dense.AttachVocabulary', vocabulary=seen_words)
attach_all = dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)
ade20k_847 = dict(
    type='vlm_dense.VocabularySegDataset',
    background=False,
    img_suffix='.jpg',
    seg_map_suffix='.tif',
    data_root='data/ade/ADE20K_2021_17_01',
    remedy='run tools/data/prepare.py ade20k_847 --train.',
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        vocabulary=seen_words,
        data_prefix=dict(img_path='images_detectron2/training', seg_map_path='annotations_detectron2/training'),
        **ade20k_847,
    ),
)
val_dataloader = dict(
    dataset=dict(
        vocabulary=all_words,
        data_prefix=dict(img_path='images_detectron2/validation', seg_map_path='annotations_detectron2/validation'),
        test_mode=True,
        **ade20k_847,
    ),
)
test_dataloader = val_dataloader
