"""transformers' CLIP with random weights, saved by transformers, gives the same vectors through open_clip."""

import json
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from vlm_dense.checkpoints.adapters import from_hf_clip
from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.errors import CheckpointError

SHARED = {'num_hidden_layers': 2, 'num_attention_heads': 2, 'projection_dim': 16}
TEXT = {
    **SHARED,
    'hidden_size': 32,
    'intermediate_size': 128,
    'vocab_size': 99,
    'max_position_embeddings': 8,
    'eos_token_id': 98,
    'bos_token_id': 97,
}
VISION = {**SHARED, 'hidden_size': 64, 'intermediate_size': 256, 'image_size': 32, 'patch_size': 16}
IDS = torch.tensor([[97, 5, 6, 98, 0, 0, 0, 0], [97, 7, 98, 0, 0, 0, 0, 0]])


def clip(activation: str = 'quick_gelu', **text: object) -> CLIPModel:
    torch.manual_seed(0)
    halves = {
        'text_config': {**TEXT, 'hidden_act': activation, **text},
        'vision_config': {**VISION, 'hidden_act': activation},
    }
    model = CLIPModel(CLIPConfig(**halves, projection_dim=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # its own initial values are so small that no activation shows
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize('activation', ['quick_gelu', 'gelu'])
@pytest.mark.parametrize('storage', ['safetensors', 'shards', 'pickle'])
def test_same_vectors(tiny: str, tmp_path: Path, images, activation: str, storage: str) -> None:
    model = clip(activation)
    model.save_pretrained(tmp_path, max_shard_size='100KB' if storage == 'shards' else '1GB')
    if storage == 'pickle':
        (tmp_path / 'model.safetensors').unlink()
        torch.save(model.state_dict(), tmp_path / 'pytorch_model.bin')
    name = f'{tiny}-quickgelu' if activation == 'quick_gelu' else tiny
    source = find_open_clip(name, str(tmp_path))
    assert source.path.name.endswith('.index.json') == (storage == 'shards')
    loaded = load_open_clip(source)
    with torch.no_grad():
        expected = model(input_ids=IDS, pixel_values=images)
        torch.testing.assert_close(loaded.encode_text(IDS, normalize=True), expected.text_embeds, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            loaded.encode_image(images, normalize=True), expected.image_embeds, rtol=0, atol=1e-5
        )
        torch.testing.assert_close(loaded.logit_scale, model.logit_scale)


def test_the_other_activation_is_refused_and_would_be_wrong(tiny: str, tmp_path: Path, images) -> None:
    clip('quick_gelu').save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"need QuickGELU .*config.json.* Use name='{tiny}-quickgelu'"):
        find_open_clip(tiny, str(tmp_path))
    with torch.no_grad():
        vectors = [
            clip(activation)(input_ids=IDS, pixel_values=images).text_embeds for activation in ('quick_gelu', 'gelu')
        ]
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


def test_one_half(tiny: str, tmp_path: Path, images) -> None:
    whole = clip()
    name = f'{tiny}-quickgelu'
    text = CLIPTextModelWithProjection(whole.config.text_config).eval()
    vision = CLIPVisionModelWithProjection(whole.config.vision_config).eval()
    for half, model in (('text', text), ('image', vision)):
        model.load_state_dict(whole.state_dict(), strict=False)
        model.save_pretrained(tmp_path / half)
        with pytest.raises(CheckpointError, match=r'weights matched, \d+ missing'):
            load_open_clip(find_open_clip(name, str(tmp_path / half)))
    with torch.no_grad():
        expected = whole(input_ids=IDS, pixel_values=images)
        texts = load_open_clip(find_open_clip(name, str(tmp_path / 'text')), 'text').encode_text(IDS, normalize=True)
        pictures = load_open_clip(find_open_clip(name, str(tmp_path / 'image')), 'image').encode_image(images, True)
    torch.testing.assert_close(texts, expected.text_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(pictures, expected.image_embeds, rtol=0, atol=1e-5)


def test_other_numbers_of_heads_and_layers(tiny: str, tmp_path: Path) -> None:
    name = f'{tiny}-quickgelu'
    clip(num_attention_heads=4).save_pretrained(tmp_path / 'heads')
    with pytest.raises(CheckpointError, match=r"the weights' text half has 4 heads .* this one 2"):
        load_open_clip(find_open_clip(name, str(tmp_path / 'heads')))
    clip(num_hidden_layers=3).save_pretrained(tmp_path / 'layers')
    with pytest.raises(CheckpointError, match=r'12 unexpected \(transformer\.resblocks\.2\.'):
        load_open_clip(find_open_clip(name, str(tmp_path / 'layers')))
    clip(vocab_size=120).save_pretrained(tmp_path / 'words')
    with pytest.raises(CheckpointError, match=r'token_embedding\.weight: 120x32 instead of 99x32'):
        load_open_clip(find_open_clip(name, str(tmp_path / 'words')))


def test_old_buffers_are_left_out_and_halves_of_qkv_refused() -> None:
    weights = clip().state_dict()
    renamed = from_hf_clip(weights)
    extra = {'text_model.embeddings.position_ids': torch.arange(8)[None]}
    assert set(from_hf_clip({**weights, **extra})) == set(renamed)
    del weights['text_model.encoder.layers.0.self_attn.k_proj.bias']
    with pytest.raises(CheckpointError, match=r"'transformer\.resblocks\.0\.attn\.in_proj_bias' lack k_proj"):
        from_hf_clip(weights)


@pytest.mark.parametrize('index', ['[]', '{"weight_map": {"a": "../x.safetensors"}}', '{"weight_map": {}}', 'x'])
def test_damaged_index(tmp_path: Path, index: str) -> None:
    (tmp_path / 'model.safetensors.index.json').write_text(index)
    with pytest.raises(CheckpointError, match=r'index|own folder'):
        read_checkpoint(tmp_path / 'model.safetensors.index.json')


def test_fingerprint_sees_every_shard(tiny: str, tmp_path: Path) -> None:
    model = clip()
    model.save_pretrained(tmp_path, max_shard_size='100KB')
    first = find_open_clip(f'{tiny}-quickgelu', str(tmp_path)).fingerprint()
    with torch.no_grad():
        model.visual_projection.weight.add_(1)
    model.save_pretrained(tmp_path, max_shard_size='100KB')
    assert find_open_clip(f'{tiny}-quickgelu', str(tmp_path)).fingerprint() != first
    assert json.loads((tmp_path / 'model.safetensors.index.json').read_text())['weight_map']
