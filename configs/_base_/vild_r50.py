"""ViLD-ensemble as published, whatever its data: Mask R-CNN R50-FPN, CLIP ViT-B/32."""

_base_ = ['mask_rcnn_r50_fpn_ov.py', 'vild_180k.py']
custom_imports = dict(imports=['vlm_dense.registry'])
clip = dict(name='ViT-B-32-quickgelu', pretrained='openai')

model = dict(
    text_bank=dict(
        type='vlm_dense.TextBank',
        encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip),
        prompt='vild',
        synonyms='mean',  # LVIS's annotations bring them
    ),
    # All words stand in the training softmax; the novel ones have no objects, and their logits are multiplied by zero.
    roi_head=dict(bbox_head=dict(distill='separate', base_power=1 / 3, novel_power=2 / 3)),
    branches=dict(
        image=dict(
            type='vlm_dense.DistillRegions',
            teacher=dict(tower=dict(type='vlm_dense.OpenClipTower', **clip), scales=(1.0, 1.5), fit='center'),
            weight=0.5,
            max_regions=300,
        )
    ),
)
del clip
