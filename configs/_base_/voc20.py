# PASCAL VOC 2012 without its background (VOC-20), in mmseg's usual place; a recipe adds the pipeline, then `attach`.
words = dict(file='{{fileDirname}}/../../vlm_dense/datasets/vocabularies/voc20.json')
test_set = dict(
    type='vlm_dense.VocabularySegDataset',
    vocabulary=words,
    background=False,
    first_label=1,
    img_suffix='.jpg',
    seg_map_suffix='.png',
    data_root='data/VOCdevkit/VOC2012',
    ann_file='ImageSets/Segmentation/val.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    remedy='unpack VOCtrainval_11-May-2012.tar into data.',
    test_mode=True,
)
attach = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)
