"""Control of lseg_lite0_pictures: one weight row per base word in place of text, so unseen words are never found."""

_base_ = ['lseg_lite0_pictures.py']

model = dict(
    decode_head=dict(
        classifier=dict(
            _delete_=True,
            type='vlm_dense.PixelLinearClassifier',
            embed_dim=1280,
            vocabulary='data/pictures/vocabulary.json',
        )
    )
)
