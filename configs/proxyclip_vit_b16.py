"""ProxyCLIP (arXiv:2408.04883): DINO ViT-B/8 says which cells belong together, CLIP ViT-B/16 what they are."""

_base_ = ['sclip_vit_b16.py']

model = dict(
    backbone=dict(
        tower=dict(
            _delete_=True,
            type='vlm_dense.ProxyTower',
            tower=dict(type='vlm_dense.OpenClipTower', name='ViT-B-16-quickgelu', pretrained='openai'),
            proxy=dict(
                type='vlm_dense.TimmTower',
                name='vit_base_patch8_224.dino',
                pretrained='checkpoints/vit_base_patch8_224.dino.safetensors',
            ),
            beta=1.2,
            gamma=3.0,
        )
    ),
    test_cfg=dict(crop_size=(336, 336), stride=(112, 112)),
)
