"""Phrases in one text that do not see each other, under both attention implementations."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vlm_dense.errors import ConfigError
from vlm_dense.text.encoders import HFTextModel, block_mask, blocks_of_spans, restarted_positions

TEXT = 'a cat . two dogs .'
PHRASES = [(0, 7), (8, 18)]
KINDS = ['bert', 'roberta', 'xlm-roberta', 'mpnet']


def tokens_and_blocks(model: HFTextModel) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = model.tokenizer.tokens(TEXT)
    return torch.tensor([tokens.ids]), torch.tensor([blocks_of_spans(tokens.spans, PHRASES)])


@pytest.mark.parametrize('restart', [False, True])
@pytest.mark.parametrize('attention', ['sdpa', 'eager'])
@pytest.mark.parametrize('kind', KINDS)
def test_nothing_leaks_into_a_block(kind: str, attention: str, restart: bool, hf_folder: Callable[[str], Path]) -> None:
    if kind == 'mpnet' and attention == 'sdpa':
        pytest.skip('transformers has no other attention for MPNet')
    model = HFTextModel(hf_folder(kind), attention=attention).eval()
    ids_1L, block_1L = tokens_and_blocks(model)
    position_1L = restarted_positions(block_1L) if restart else None
    with torch.no_grad():
        before_LC = model.token_states(ids_1L, block_mask(block_1L), position_1L)[0]
        moved_1L = ids_1L.clone()
        moved_1L[block_1L == 1] = ids_1L[block_1L == 1].flip(0)
        moved_1L[block_1L < 0] = ids_1L[block_1L == 0][0]
        after_LC = model.token_states(moved_1L, block_mask(block_1L), position_1L)[0]
        unmasked_LC = model.token_states(moved_1L)[0] - model.token_states(ids_1L)[0]
    inside_L = block_1L[0] == 0
    assert (moved_1L != ids_1L).sum() > 2
    assert (after_LC - before_LC)[inside_L].abs().max() <= 1e-6
    assert (after_LC - before_LC)[block_1L[0] == 1].abs().max() > 1e-3
    assert unmasked_LC[inside_L].abs().max() > 1e-3


@pytest.mark.parametrize('attention', ['sdpa', 'eager'])
def test_block_with_restarted_positions_equals_the_phrase_alone(
    attention: str, hf_folder: Callable[[str], Path]
) -> None:
    for kind in ('bert', 'roberta'):
        model = HFTextModel(hf_folder(kind), attention=attention).eval()
        ids_1L, block_1L = tokens_and_blocks(model)
        states_LC = model.token_states(ids_1L, block_mask(block_1L), restarted_positions(block_1L))[0]
        for block in (0, 1):
            inside_L = block_1L[0] == block
            alone_LC = model.core.model(input_ids=ids_1L[:, inside_L]).last_hidden_state[0]
            torch.testing.assert_close(states_LC[inside_L], alone_LC, atol=1e-5, rtol=0)


def test_one_block_equals_no_mask(hf_folder: Callable[[str], Path]) -> None:
    for kind in KINDS:
        model = HFTextModel(hf_folder(kind), attention='eager').eval()
        ids_BL = model.pad(model.tokenise([TEXT, 'x']), 32)
        block_BL = torch.where(ids_BL == model.tokenizer.pad_id, -1, 0)
        with torch.no_grad():
            # Positions as without a mask: padding has the place that RoBERTa keeps for it.
            masked_BLC = model.token_states(ids_BL, block_mask(block_BL))
            plain_BLC = model.token_states(ids_BL)
        torch.testing.assert_close(masked_BLC[block_BL == 0], plain_BLC[block_BL == 0], atol=1e-5, rtol=0)


def test_gradient_stays_in_the_block(hf_folder: Callable[[str], Path]) -> None:
    model = HFTextModel(hf_folder('bert')).eval()
    ids_1L, block_1L = tokens_and_blocks(model)
    model.token_states(ids_1L, block_mask(block_1L))[0, block_1L[0] == 0].sum().backward()
    gradient_V = model.core.model.embeddings.word_embeddings.weight.grad.abs().sum(dim=-1)
    only_outside = set(ids_1L[block_1L == 1].tolist()) - set(ids_1L[block_1L == 0].tolist())
    assert gradient_V[sorted(only_outside)].max() == 0
    assert gradient_V[ids_1L[block_1L == 0]].min() > 0


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda mask: mask[:, 0], r'of shape \(1, \d+, \d+\) does not fit 1 texts'),
        (lambda mask: mask == 0, r'of type torch.bool is misread under eager attention'),
        (lambda mask: (mask == 0)[:, 0], r'of type torch.bool is misread'),
        (lambda mask: (mask == 0).long(), r'of type torch.int64 is misread'),
        (lambda mask: mask[..., :-1], 'does not fit'),
    ],
)
def test_masks_that_transformers_would_misread_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], message: str, hf_folder: Callable[[str], Path]
) -> None:
    model = HFTextModel(hf_folder('bert'))
    ids_1L, block_1L = tokens_and_blocks(model)
    with pytest.raises(ConfigError, match=message):
        model.token_states(ids_1L, change(block_mask(block_1L)))


def test_positions_need_a_mask(hf_folder: Callable[[str], Path]) -> None:
    model = HFTextModel(hf_folder('bert'))
    ids_1L, block_1L = tokens_and_blocks(model)
    with pytest.raises(ConfigError, match='positions of your own need a mask'):
        model.token_states(ids_1L, position_BL=restarted_positions(block_1L))


def test_blocks_by_hand() -> None:
    spans = [None, (0, 1), (2, 5), (6, 7), (8, 11), None]
    assert blocks_of_spans(spans, [(0, 5), (8, 11)]) == [-1, 0, 0, -1, 1, -1]
    block_1L = torch.tensor([[-1, 0, 0, 1, 1, 1, -1]])
    seen_LL = block_mask(block_1L, torch.float16)[0, 0] == 0
    expected_LL = torch.block_diag(*[torch.ones(size, size) for size in (1, 2, 3, 1)]).bool()
    assert torch.equal(seen_LL, expected_LL)
    assert restarted_positions(block_1L).tolist() == [[0, 0, 1, 0, 1, 2, 0]]
