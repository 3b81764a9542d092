"""FC-CLIP (arXiv:2308.02487) on the frozen ResNet-50 of OpenAI's CLIP."""

_base_ = ['fcclip_convnext_l_coco.py']
clip = dict(name='RN50-quickgelu', pretrained='openai')

model = dict(
    backbone=dict(tower=clip),
    mask_head=dict(in_channels=[256, 512, 1024, 2048], classifier=dict(embed_dim=1024)),
    text_bank=dict(encoder=clip),
    regions=dict(empty='picture'),
    fusion=dict(empty='own'),  # The region encoder has no say about masks that fill no cell.
)
del clip
