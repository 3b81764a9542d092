"""LSeg's other network: ResNet-101 from ImageNet under the same decoder, words of CLIP ViT-B/32."""

model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(480, 480),
    ),
    backbone=dict(
        type='vlm_dense.TowerBackbone',
        tower=dict(
            type='vlm_dense.TimmTower', name='resnet101.tv_in1k', pretrained='resnet101.tv_in1k.safetensors'
        ),  # torchvision's weights in timm's file
        tune='all',
    ),
    decode_head=dict(
        type='vlm_dense.PyramidPixelHead',
        in_channels=(256, 512, 1024, 2048),
        embed_dim=512,
        bias=True,
        align_corners=True,
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=512, temperature=0.07, background=None),
        upsample=2,
    ),
    text_bank=dict(
        type='vlm_dense.TextBank',
        encoder=dict(type='vlm_dense.OpenClipTextEncoder', name='ViT-B-32-quickgelu', pretrained='openai'),
        prompt='name',
    ),
)
