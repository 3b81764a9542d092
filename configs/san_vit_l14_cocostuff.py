"""SAN (arXiv:2302.12242) with CLIP ViT-L/14 at 336 pixels, which sees pictures at 0.7 of their size."""

_base_ = ['san_vit_b16_cocostuff.py']
clip = dict(name='ViT-L-14-336-quickgelu', pretrained='openai')
model = dict(
    clip=clip,
    encoder_resolution=0.7,
    image_encoder=dict(
        img_size=(336, 336), patch_size=14, embed_dims=1024, num_layers=18, num_heads=16, out_indices=(5, 11, 17)
    ),
    text_bank=dict(encoder=clip),
    decode_head=dict(
        classifier=dict(embed_dim=768),
        san_cfg=dict(clip_channels=1024, cfg_decoder=dict(num_heads=16)),
        maskgen_cfg=dict(num_layers=6, embed_dims=1024, num_heads=16, out_dims=768),
    ),
)
train_dataloader = dict(batch_size=4)  # on each of eight GPUs
