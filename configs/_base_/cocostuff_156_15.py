"""COCO-Stuff 164k: training asks for 156 words and ignores the other 15, the test asks for all 171.

A recipe adds the steps of the pictures, then `attach_seen` or `attach_all`.
"""

_base_ = ['cocostuff_loaders.py']
word_file = '{{fileDirname}}/../../vlm_dense/datasets/vocabularies/cocostuff_156_15.json'
seen_words = dict(file=word_file, only='base')
all_words = dict(file=word_file)
attach_seen = dict(type='vlm_dense.AttachVocabulary', vocabulary=seen_words)
attach_all = dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)

train_dataloader = dict(dataset=dict(vocabulary=seen_words))
val_dataloader = dict(dataset=dict(vocabulary=all_words))
test_dataloader = val_dataloader
