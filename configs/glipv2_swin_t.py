"""GLIPv2-T's pre-training of boxes (arXiv:2206.05836): GLIP-T with words of other pictures and with hidden words.

Regions before fusion, 100 of a picture, are contrasted with the words of all pictures of all processes, and words of
the prompts are masked and predicted after fusion; both with weight 1. GLIPv2's masks, its answers to questions and its
writing of captions are not here.
"""

_base_ = ['_base_/glip_swin_t.py', '_base_/glip_steps.py', '_base_/glip_caption_data.py']
model = dict(
    bbox_head=dict(
        aux_losses=dict(contrast=dict(type='vlm_dense.InterImageContrast', width=64, max_regions=100, loss_weight=1.0))
    ),
    masked_words=dict(type='vlm_dense.MaskedWords', rate=0.15, loss_weight=1.0),
)
