"""What is larger with CLIP's RN50x4: 18 x 18 cells of a region, 9 x 9 after the fourth stage, as in its own pooling."""

clip_x4 = dict(name='RN50x4-quickgelu', pretrained='openai')
x4 = dict(
    text_bank=dict(encoder=clip_x4),
    backbone=dict(tower=clip_x4),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(output_size=18), out_channels=1280),
        bbox_head=dict(embed_dim=640, in_channels=640),
    ),
)
del clip_x4
