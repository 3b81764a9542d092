"""COCO-Stuff 164k: training shows all 171 words. A recipe adds the steps of the pictures, then `attach`."""

_base_ = ['cocostuff_loaders.py']
word_file = '{{fileDirname}}/../../vlm_dense/datasets/vocabularies/cocostuff_156_15.json'
words = dict(file=word_file, base=word_file)
attach = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)

train_dataloader = dict(dataset=dict(vocabulary=words))
val_dataloader = dict(dataset=dict(vocabulary=words))
test_dataloader = val_dataloader
