"""PASCAL VOC 2012 with its augmentation in mmseg's usual place: 15 words are trained, 5 ignored, the test asks for 20.

A recipe adds the steps of the pictures, then `attach_seen` or `attach_all`. Background is ignored.
"""

_base_ = ['segmentation_loaders.py']
word_file = '{{fileDirname}}/../../vlm_dense/datasets/vocabularies/voc20_15_5.json'
seen_words = dict(file=word_file, only='base')
all_words = dict(file=word_file)
attach_seen = dict(type='vlm_dense.AttachVocabulary', vocabulary=seen_words)
attach_all = dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)
voc = dict(
    type='vlm_dense.VocabularySegDataset',
    first_label=1,
    background=False,
    img_suffix='.jpg',
    seg_map_suffix='.png',
    data_root='data/VOCdevkit/VOC2012',
    remedy="unpack VOCtrainval_11-May-2012.tar and run mmseg's converter voc_aug.py.",
)
train_dataloader = dict(
    dataset=dict(
        vocabulary=seen_words,
        ann_file='ImageSets/Segmentation/trainaug.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
        **voc,
    ),
)
val_dataloader = dict(
    dataset=dict(
        vocabulary=all_words,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        test_mode=True,
        **voc,
    ),
)
test_dataloader = val_dataloader
