"""ZegFormer (arXiv:2112.07910) with ResNet-101 and CLIP ViT-B/16, whatever its data.

The words of training are averaged over eight templates; the published test has one: model.text_bank.prompt=zegformer.
"""

_base_ = ['mask_former_r101.py']
clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
bank = dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), synonyms='mean')

model = dict(
    decode_head=dict(query_embedding=dict(num_layers=1), classifier=dict(void='learned_raw')),
    text_bank=dict(prompt='zegformer_8', **bank),
    regions=dict(
        type='vlm_dense.CropReader',
        tower=dict(type='vlm_dense.OpenClipTower', **clip),
        style='crop_and_mask',
        threshold=0.5,
    ),
    region_bank=dict(prompt='zegformer_32', **bank),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=1 / 3, novel_power=2 / 3, seen_mean=True, void='shared'),
)
del bank, clip
