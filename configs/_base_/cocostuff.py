# COCO-Stuff 164k in mmseg's usual place; a recipe adds the vocabulary, the part and the pipeline.
cocostuff = dict(
    type='vlm_dense.VocabularySegDataset',
    background=False,
    img_suffix='.jpg',
    seg_map_suffix='_labelTrainIds.png',
    data_root='data/coco_stuff164k',
    remedy="unpack COCO's pictures and stuffthingmaps_trainval2017.zip and run mmseg's converter coco_stuff164k.py.",
)
cocostuff_validation = dict(img_path='images/val2017', seg_map_path='annotations/val2017')
