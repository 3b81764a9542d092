# PASCAL Context with 59 words, in mmseg's usual place; a recipe adds the pipeline, then `attach`.
words = dict(dataset='pascal_context_59')
test_set = dict(
    type='vlm_dense.VocabularySegDataset',
    vocabulary=words,
    background=False,
    first_label=1,
    img_suffix='.jpg',
    seg_map_suffix='.png',
    data_root='data/VOCdevkit/VOC2010',
    ann_file='ImageSets/SegmentationContext/val.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
    remedy="unpack VOCtrainval_03-May-2010.tar into data and convert the maps with mmseg's pascal_context.py.",
    test_mode=True,
)
attach = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)
