"""Control of glip_lite0_pictures, same checkpoint: each novel word is read as another novel word."""

_base_ = ['glip_lite0_pictures.py']

model = dict(type='vlm_dense.ExchangedWordsDetector', exchange_seed=0)
