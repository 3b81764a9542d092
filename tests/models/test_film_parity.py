"""The FiLM decoder on tapped tokens equals transformers' CLIPSeg with the same random weights, in float64."""

import json
from pathlib import Path

import pytest
import torch

from vlm_dense.checkpoints import check_coverage
from vlm_dense.checkpoints.adapters import to_film_segmentor
from vlm_dense.models.decode_heads import FilmPixelHead
from vlm_dense.vlms import OpenClipTower, TowerBackbone

WIDTH, SIDE, EMBED_DIM, BLOCKS = 128, 64, 24, 11


@pytest.fixture(scope='module')
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    import open_clip

    name = 'vlm-dense-film-tiny'
    vision = {'image_size': SIDE, 'layers': BLOCKS, 'width': WIDTH, 'patch_size': 16, 'head_width': 64}
    text = {'context_length': 8, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 1}
    path: Path = tmp_path_factory.mktemp('open_clip') / f'{name}.json'
    path.write_text(json.dumps({'embed_dim': EMBED_DIM, 'quick_gelu': True, 'vision_cfg': vision, 'text_cfg': text}))
    open_clip.add_model_config(path)
    return name


def their_model(taps: tuple[int, ...], refined: bool) -> torch.nn.Module:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    config = CLIPSegConfig(
        text_config=dict(
            vocab_size=99, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
        ),
        vision_config=dict(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=BLOCKS,
            num_attention_heads=WIDTH // 64,
            image_size=SIDE,
            patch_size=16,
        ),
        projection_dim=EMBED_DIM,
        extract_layers=list(taps),
        reduce_dim=16,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=48,
        use_complex_transposed_convolution=refined,
    )
    torch.manual_seed(0)
    model = CLIPSegForImageSegmentation(config).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def our_model(name: str, taps: tuple[int, ...], refined: bool, **settings: object) -> torch.nn.ModuleDict:
    tower = OpenClipTower(name, interpolation='bicubic_plain', taps=taps)
    backbone = TowerBackbone(tower, out_indices=(0, 1, 2), class_token=True, in_checkpoint=True)
    head = FilmPixelHead(WIDTH, EMBED_DIM, channels=16, feedforward=48, refined=refined, **settings)
    return torch.nn.ModuleDict({'backbone': backbone, 'decode_head': head}).eval().double()


def filled_pair(name: str, taps: tuple[int, ...], refined: bool) -> tuple[torch.nn.Module, torch.nn.ModuleDict]:
    theirs, ours = their_model(taps, refined), our_model(name, taps, refined)
    weights = to_film_segmentor(theirs.state_dict())
    coverage = check_coverage(ours.state_dict(), weights)
    assert coverage.is_complete, coverage
    assert not coverage.unexpected
    ours.load_state_dict(weights)
    return theirs, ours


@pytest.mark.parametrize('refined', [False, True])
@pytest.mark.parametrize('taps', [(3, 6, 9), (3, 7, 9)])
@pytest.mark.parametrize('side', [SIDE, 112])
@torch.no_grad()
def test_logits_equal_transformers(architecture: str, taps: tuple[int, ...], refined: bool, side: int) -> None:
    theirs, ours = filled_pair(architecture, taps, refined)
    images, text_KD = torch.randn(2, 3, side, side).double(), 3 * torch.randn(3, EMBED_DIM).double()
    found = ours['decode_head'](ours['backbone'](images), text_KD)
    assert found.shape == (2, 3, side, side)
    for k, row_D in enumerate(text_KD):
        expected = theirs(pixel_values=images, conditional_embeddings=row_D.repeat(2, 1)).logits
        assert expected.std() > 0.01
        torch.testing.assert_close(found[:, k], expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_a_picture_as_prompt(architecture: str) -> None:
    """The raw embedding of a picture in place of a text's."""
    theirs, ours = filled_pair(architecture, (3, 6, 9), False)
    images, prompts = torch.randn(2, 2, 3, SIDE, SIDE).double()
    expected = theirs(pixel_values=images, conditional_pixel_values=prompts).logits
    visual = ours['backbone'].tower.visual
    found = ours['decode_head'](ours['backbone'](images), visual(prompts))
    torch.testing.assert_close(torch.stack([found[0, 0], found[1, 1]]), expected, rtol=1e-6, atol=1e-6)
