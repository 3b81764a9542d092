"""LSeg's network: ViT-L/16 from ImageNet-21k, DPT's decoder, words of CLIP ViT-B/32."""

model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, size=(480, 480)
    ),
    backbone=dict(
        type='vlm_dense.TowerBackbone',
        tower=dict(
            type='vlm_dense.TimmTower',
            name='vit_large_patch16_384',
            pretrained='vit_large_patch16_384.safetensors',
            taps=(5, 11, 17, 23),
            interpolation='bilinear',
        ),
        class_token=True,
        tune='all',
    ),
    decode_head=dict(
        type='vlm_dense.DPTPixelHead',
        in_channels=1024,
        embed_dim=512,
        # The scale 1/0.07 is a constant in the authors' code: not trained, not in their checkpoints.
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=512, temperature=0.07, background=None),
        upsample=2,
    ),
    text_bank=dict(
        type='vlm_dense.TextBank',
        encoder=dict(type='vlm_dense.OpenClipTextEncoder', name='ViT-B-32-quickgelu', pretrained='openai'),
        prompt='name',
    ),
)
