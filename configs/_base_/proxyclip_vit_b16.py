"""ProxyCLIP (arXiv:2408.04883): DINO ViT-B/8 says which cells belong together, CLIP ViT-B/16 what they are."""

clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='vlm_dense.DenseBackbone',
        tower=dict(
            type='vlm_dense.ProxyTower',
            tower=dict(type='vlm_dense.OpenClipTower', **clip),
            proxy=dict(
                type='vlm_dense.TimmTower',
                name='vit_base_patch8_224.dino',
                pretrained='checkpoints/vit_base_patch8_224.dino.safetensors',
            ),
            beta=1.2,
            gamma=3.0,
        ),
    ),
    decode_head=dict(type='vlm_dense.DenseMapHead', logit_scale=40.0, synonyms='max'),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='openai_80'
    ),
    test_cfg=dict(mode='slide', crop_size=(336, 336), stride=(112, 112)),
)
