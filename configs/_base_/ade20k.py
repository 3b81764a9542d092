# ADE20K-150 in mmseg's usual place; a recipe adds the vocabulary, the part and the pipeline.
ade20k = dict(
    type='vlm_dense.VocabularySegDataset',
    background=False,
    first_label=1,
    img_suffix='.jpg',
    seg_map_suffix='.png',
    data_root='data/ade/ADEChallengeData2016',
    remedy='unpack ADEChallengeData2016.zip of the MIT Scene Parsing Benchmark into data/ade.',
)
ade20k_validation = dict(img_path='images/validation', seg_map_path='annotations/validation')
