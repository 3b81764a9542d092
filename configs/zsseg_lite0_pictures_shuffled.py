"""Control of zsseg_lite0_pictures, same checkpoint: each unseen word has the embedding of another unseen word."""

_base_ = ['zsseg_lite0_pictures.py']

model = dict(text_bank=dict(_delete_=True, type='vlm_dense.ShuffledBank', bank=_base_.model.text_bank, seed=0))
