"""CLIPSeg's weights under the names of a segmentor; its numbers are compared in tests/models/test_film_parity.py."""

import pytest
import torch
from torch import Tensor

from vlm_dense.checkpoints import check_coverage
from vlm_dense.checkpoints.adapters import to_film_segmentor
from vlm_dense.errors import CheckpointError
from vlm_dense.models.decode_heads import FilmPixelHead

PIECES = ('q_proj', 'k_proj', 'v_proj')


def our_decoder(refined: bool) -> dict[str, Tensor]:
    head = FilmPixelHead(in_channels=12, embed_dim=10, channels=8, feedforward=16, refined=refined)
    return {f'decode_head.{name}': torch.randn_like(weight) for name, weight in head.state_dict().items()}


def authors_weights(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {name: name.removeprefix('decode_head.').replace('enlarge', 'trans_conv') for name in ours}
    return {names[name]: weight for name, weight in ours.items()}


def transformers_weights(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    made = {}
    for name, weight in ours.items():
        name = name.replace('decode_head', 'decoder').replace('enlarge', 'transposed_convolution')
        for there, here in (
            ('layers', 'blocks'),
            ('layer_norm1', 'norm1'),
            ('layer_norm2', 'norm2'),
            ('mlp.fc1', 'linear1'),
            ('mlp.fc2', 'linear2'),
        ):
            name = name.replace(f'.{here}.', f'.{there}.')
        if 'in_proj_' in name:
            made |= {
                name.replace('in_proj_', f'{piece}.'): part for piece, part in zip(PIECES, weight.chunk(3), strict=True)
            }
        else:
            made[name] = weight
    return made


@pytest.mark.parametrize('refined', [False, True])
@pytest.mark.parametrize('layout', [authors_weights, transformers_weights])
def test_round_trip(layout, refined: bool) -> None:
    ours = our_decoder(refined)
    theirs = layout(ours)
    assert not set(theirs) & set(ours)
    found = to_film_segmentor(theirs)
    coverage = check_coverage(ours, found)
    assert coverage.is_complete, coverage
    assert not coverage.unexpected
    assert all(torch.equal(found[name], weight) for name, weight in ours.items())


def test_names_of_the_authors() -> None:
    names = set(authors_weights(our_decoder(True)))
    assert {'film_mul.weight', 'film_add.bias', 'reduces.2.weight', 'blocks.0.self_attn.in_proj_weight'} <= names
    assert {'blocks.2.norm2.bias', 'blocks.1.linear1.weight', 'trans_conv.4.weight'} <= names


def test_a_layer_that_nothing_uses_is_left_out() -> None:
    theirs = authors_weights(our_decoder(False)) | {'reduce.weight': torch.zeros(8, 12), 'reduce.bias': torch.zeros(8)}
    assert not [name for name in to_film_segmentor(theirs) if name.endswith('reduce.weight')]


def test_the_tower_comes_along_without_the_text_half() -> None:
    clip = {
        'clip.logit_scale': torch.zeros(()),
        'clip.text_model.final_layer_norm.weight': torch.zeros(3),
        'clip.text_projection.weight': torch.zeros(3, 3),
        'clip.visual_projection.weight': torch.randn(5, 7),
        'clip.vision_model.post_layernorm.bias': torch.zeros(7),
    }
    found = to_film_segmentor(transformers_weights(our_decoder(False)) | clip)
    tower = {name for name in found if not name.startswith('decode_head.')}
    assert tower == {'backbone.tower.visual.proj', 'backbone.tower.visual.ln_post.bias'}
    assert torch.equal(found['backbone.tower.visual.proj'], clip['clip.visual_projection.weight'].T)


def test_what_is_not_known_stays_and_is_reported() -> None:
    ours = our_decoder(False)
    found = to_film_segmentor(authors_weights(ours) | {'shift_vector': torch.zeros(10)})
    assert check_coverage(ours, found).unexpected == ('shift_vector',)
    found = to_film_segmentor(transformers_weights(ours) | {'extra': torch.zeros(1)})
    assert check_coverage(ours, found).unexpected == ('extra',)


def test_half_a_layer() -> None:
    theirs = transformers_weights(our_decoder(False))
    theirs = {name: weight for name, weight in theirs.items() if name != 'decoder.layers.1.self_attn.k_proj.bias'}
    with pytest.raises(CheckpointError, match=r"'blocks.1.self_attn.in_proj_bias' lack k_proj"):
        to_film_segmentor(theirs)
