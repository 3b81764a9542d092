"""ZSSeg (arXiv:2112.14757) with the words in the prompt that zsseg_prompts_cocostuff.py learned."""

_base_ = ['zsseg_r101c_cocostuff.py']

model = dict(
    text_bank=dict(
        _delete_=True,
        type='vlm_dense.LearnedPromptBank',
        encoder=dict(type='vlm_dense.OpenClipTextTower', name='ViT-B-16-quickgelu', pretrained='openai'),
        contexts='work_dirs/zsseg_prompts_cocostuff/contexts.safetensors',
    )
)
