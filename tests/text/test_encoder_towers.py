"""Every kind of text half that open_clip builds, against open_clip itself on the full context."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text.encoders import OpenClipTextEncoder, OpenClipTextTower

SHAPE = {'width': 64, 'heads': 2, 'layers': 2}
CLIP = {'context_length': 16, 'vocab_size': 49408, **SHAPE}
COCA = {
    'custom_text': True,
    'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 64, 'patch_size': 16, 'attentional_pool': True,
                   'attn_pooler_heads': 2, 'output_tokens': True},
    'multimodal_cfg': {**CLIP, 'attn_pooler_heads': 2},
}  # fmt: skip
TEXTS = ['a photo of a cat.', 'x', 'Two DOGS in the snow', '', 'a cat a cat a cat a cat a']
OWN = ('clip', 'eva', 'quick', 'mobile', 'siglip', 'clipa', 'worldwide', 'coca')
HUB = ('xlm-roberta', 'roberta', 'bert', 'mt5')  # 'bert' is what Chinese text halves are made of


@pytest.fixture
def tiny(
    add_clip: Callable[..., str], hf_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    monkeypatch.chdir(hf_folder('bert').parents[1])  # models are named OWNER/NAME, and that is a folder here

    def of(kind: str) -> str:
        if kind in HUB:
            folder = f'tiny/{hf_folder(kind).name}'
            pooler = 'cls_pooler' if kind in ('roberta', 'bert') else 'mean_pooler'
            projection = 'linear' if kind == 'mt5' else 'mlp'
            text = {'hf_model_name': folder, 'hf_tokenizer_name': folder, 'hf_pooler_type': pooler}
            return add_clip(
                f'tiny-text-{kind}', {**text, 'hf_proj_type': projection, 'context_length': 32}, embed_dim=48
            )
        text = dict(CLIP)
        settings: dict[str, Any] = {'custom_text': kind not in ('clip', 'quick', 'clipa', 'worldwide')}
        if kind == 'quick':
            settings['quick_gelu'] = True
        if kind == 'mobile':
            text['no_causal_mask'] = True
        if kind in ('siglip', 'clipa'):
            folder = str(hf_folder('mt5' if kind == 'siglip' else 'bert'))
            text |= {'context_length': 32, 'pool_type': 'last', 'no_causal_mask': True, 'hf_tokenizer_name': folder}
            text['tokenizer_kwargs'] = {'clean': 'canonicalize'} if kind == 'siglip' else {'strip_sep_token': True}
            text |= {'proj_bias': True} if kind == 'siglip' else {}
        if kind == 'worldwide':
            if 'eos_id' not in {field.name for field in fields(CLIPTextCfg)}:
                pytest.skip('this open_clip has no pool_type "eos"')
            text |= {
                'context_length': 32,
                'pool_type': 'eos',
                'eos_id': 2,
                'hf_tokenizer_name': str(hf_folder('xlm-roberta')),
            }
        if kind == 'coca':
            text |= {'embed_cls': True, 'output_tokens': True}
            settings |= COCA
        return add_clip(f'tiny-text-{kind}', text, **settings)

    return of


def with_open_clip(name: str, texts: list[str]) -> torch.Tensor:
    model: Any = load_open_clip(find_open_clip(name, None))
    with torch.no_grad():
        return model.encode_text(open_clip.get_tokenizer(name)(texts), normalize=True)


@pytest.mark.parametrize('kind', OWN + HUB)
def test_equals_open_clip_on_the_full_context(kind: str, tiny: Callable[[str], str]) -> None:
    name = tiny(kind)
    expected_ND = with_open_clip(name, TEXTS)
    torch.testing.assert_close(OpenClipTextEncoder(name, chunk_size=4).encode(TEXTS), expected_ND, atol=1e-5, rtol=0)
    tower = OpenClipTextTower(name).eval()
    whole_ND = torch.nn.functional.normalize(tower(TEXTS), dim=-1)
    torch.testing.assert_close(whole_ND, expected_ND, atol=1e-5, rtol=0)
    for row, text in enumerate(TEXTS):
        alone_1D = torch.nn.functional.normalize(tower([text]), dim=-1)
        torch.testing.assert_close(alone_1D, expected_ND[row : row + 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ('kind', 'length'),
    [('clip', 7), ('worldwide', 7), ('coca', 8), ('siglip', 32), ('clipa', 32), ('mobile', 16), ('roberta', 7)],
)
def test_only_towers_that_may_be_trimmed_are(kind: str, length: int, tiny: Callable[[str], str]) -> None:
    tower = OpenClipTextTower(tiny(kind))
    assert tower.padded_length(7) == length
    assert tower.padded_length(tower.max_tokens) == tower.max_tokens


def test_equals_transformers_clip(tiny: Callable[[str], str]) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    tower = OpenClipTextTower(tiny('quick')).eval()
    config = CLIPTextConfig(
        hidden_size=64, num_attention_heads=2, num_hidden_layers=2, intermediate_size=256, projection_dim=32,
        max_position_embeddings=16, hidden_act='quick_gelu', bos_token_id=49406, eos_token_id=49407,
    )  # fmt: skip
    other = CLIPTextModelWithProjection(config).eval()
    other.load_state_dict(_transformers_layout(tower.core.state_dict()), strict=False)
    ids_BL = open_clip.get_tokenizer('ViT-B-32')(TEXTS, context_length=16)
    with torch.no_grad():
        torch.testing.assert_close(tower(TEXTS), other(ids_BL).text_embeds, atol=1e-5, rtol=0)
    read_out = OpenClipTextTower(tiny('quick'), readout='last_block').eval()
    with torch.no_grad():
        states_BLC = other(ids_BL, output_hidden_states=True).hidden_states[-1]
        expected_BC = states_BLC[torch.arange(len(TEXTS)), ids_BL.argmax(-1)]
        torch.testing.assert_close(read_out(TEXTS), expected_BC, atol=1e-5, rtol=0)
    assert read_out.embed_dim == 64
    assert OpenClipTextEncoder(tiny('quick'), readout='last_block').embed_dim == 64
    assert read_out.fingerprint == OpenClipTextEncoder(tiny('quick'), readout='last_block').fingerprint
    assert read_out.fingerprint != tower.fingerprint


def _transformers_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {
        'text_model.embeddings.token_embedding.weight': state['token_embedding.weight'],
        'text_model.embeddings.position_embedding.weight': state['positional_embedding'],
        'text_projection.weight': state['text_projection'].T,
    }
    for end in ('weight', 'bias'):
        found[f'text_model.final_layer_norm.{end}'] = state[f'ln_final.{end}']
        for row in range(2):
            theirs, ours = f'text_model.encoder.layers.{row}', f'transformer.resblocks.{row}'
            for name, part in zip('qkv', state[f'{ours}.attn.in_proj_{end}'].chunk(3), strict=True):
                found[f'{theirs}.self_attn.{name}_proj.{end}'] = part
            pairs = {'self_attn.out_proj': 'attn.out_proj', 'layer_norm1': 'ln_1', 'layer_norm2': 'ln_2',
                     'mlp.fc1': 'mlp.c_fc', 'mlp.fc2': 'mlp.c_proj'}  # fmt: skip
            found |= {f'{theirs}.{one}.{end}': state[f'{ours}.{other}.{end}'] for one, other in pairs.items()}
    return found


@pytest.mark.parametrize('kind', ['clip', 'siglip', 'coca', 'xlm-roberta', 'mt5'])
def test_pseudo_word_of_a_words_own_embedding_is_that_word(kind: str, tiny: Callable[[str], str]) -> None:
    tower = OpenClipTextTower(tiny(kind)).eval()
    ids = tower.tokenizer.ids(['cat'])[0][0 if kind in ('siglip', 'mt5') else 1 : -1]
    pseudo_1PC = tower.core.embed(torch.tensor([ids])).detach()
    expected_2D = tower(['a photo of a cat.', 'cat'])
    torch.testing.assert_close(tower.encode_pseudo(pseudo_1PC, 'a photo of a {}.'), expected_2D[:1], atol=1e-5, rtol=0)
    torch.testing.assert_close(tower.encode_pseudo(pseudo_1PC), expected_2D[1:], atol=1e-5, rtol=0)


def test_gradient_reaches_pseudo_words_and_weights(tiny: Callable[[str], str]) -> None:
    tower = OpenClipTextTower(tiny('clip'))
    pseudo_BPC = torch.randn(2, 3, 64, requires_grad=True)
    tower.encode_pseudo(pseudo_BPC, ['a {} b', '{} and a much longer text']).square().sum().backward()
    assert (pseudo_BPC.grad.abs().sum(dim=-1) > 0).all()
    assert tower.core.transformer.resblocks[0].mlp.c_fc.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        ('a cat', ConfigError, r"'a cat' must hold '\{\}' exactly once"),
        ('{} {}', ConfigError, 'exactly once'),
        ('an {}mas', VocabularyError, "'an xmas' at character 3: the tokenizer joins them"),
        ('{}' + ' dog' * 14, VocabularyError, 'takes 18 tokens; this text encoder reads 16'),
    ],
)
def test_wrong_places(text: str, error: type[Exception], message: str, tiny: Callable[[str], str]) -> None:
    with pytest.raises(error, match=message):
        OpenClipTextTower(tiny('clip')).encode_pseudo(torch.zeros(1, 2, 64), text)


@pytest.mark.parametrize('kind', ['clip', 'coca', 'xlm-roberta'])
def test_token_vectors(kind: str, tiny: Callable[[str], str]) -> None:
    encoder = OpenClipTextEncoder(tiny(kind), chunk_size=2)
    found = encoder.encode_tokens(TEXTS)
    assert [len(one.vectors_LD) for one in found] == encoder.count_tokens(TEXTS)
    assert [len(one.spans) for one in found] == encoder.count_tokens(TEXTS)
    assert {one.vectors_LD.shape[1] for one in found} == {encoder.embed_dim}
    assert found[0].spans[0] is None
    assert ''.join(TEXTS[0][slice(*span)] for span in found[0].spans if span) == 'aphotoofacat.'
    if kind == 'clip':
        ends_ND = torch.stack([one.vectors_LD[-1] for one in found])
        torch.testing.assert_close(ends_ND, encoder.encode(TEXTS, normalise=False), atol=1e-5, rtol=0)


def test_what_an_architecture_cannot_do(tiny: Callable[[str], str], add_clip: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match=r"'tiny-text-xlm-roberta' has no readout 'last_block'"):
        OpenClipTextTower(tiny('xlm-roberta'), readout='last_block')
    with pytest.raises(ConfigError, match=r"readout='attn12': write 'projected' or 'last_block'"):
        OpenClipTextEncoder(tiny('clip'), readout='attn12')
    clips = add_clip('tiny-text-clips', {**CLIP, 'hf_tokenizer_name': 'any', 'tokenizer_mode': 'clips'})
    with pytest.raises(ConfigError, match="'tiny-text-clips' sets tokenizer_mode"):
        OpenClipTextEncoder(clips).encode(['cat'])
    none = add_clip('tiny-text-none', {**CLIP, 'pool_type': 'none'}, custom_text=True)
    with pytest.raises(ConfigError, match="pool_type 'none'"):
        OpenClipTextEncoder(none).encode(['cat'])
