"""Control of regionclip_lite0_pictures, same checkpoint: each novel word has the embedding of another novel word."""

_base_ = ['regionclip_lite0_pictures.py']

model = dict(text_bank=dict(_delete_=True, type='vlm_dense.ShuffledBank', bank=_base_.model.text_bank, seed=0))
