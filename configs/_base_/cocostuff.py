# COCO-Stuff 164k with 171 words, in mmseg's usual place; a recipe adds the pipeline, then `attach`.
words = dict(dataset='coco_stuff')
test_set = dict(
    type='vlm_dense.VocabularySegDataset',
    vocabulary=words,
    background=False,
    img_suffix='.jpg',
    seg_map_suffix='_labelTrainIds.png',
    data_root='data/coco_stuff164k',
    data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    remedy="unpack val2017.zip and stuffthingmaps_trainval2017.zip and run mmseg's converter coco_stuff164k.py.",
    test_mode=True,
)
attach = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)
