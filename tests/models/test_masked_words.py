"""Masked words: which tokens are hidden, and the loss against transformers' own."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from vlm_dense.errors import ConfigError
from vlm_dense.models.language import MaskedIds
from vlm_dense.registry import MODELS

PAD, START, END, MASK = 0, 1, 2, 3
SETTINGS = dict(width=12, vocab_size=50, mask_id=MASK, special_ids=(PAD, START, END, MASK))


def make_module(**settings):
    return MODELS.build({'type': 'vlm_dense.MaskedWords', **SETTINGS, **settings})


def make_bert():
    torch.manual_seed(0)
    sizes = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=50)
    found = BertForMaskedLM(BertConfig(**sizes, hidden_dropout_prob=0, attention_probs_dropout_prob=0))
    torch.nn.init.normal_(found.cls.predictions.bias)
    return found


def texts(rows=4, length=10):
    ids_BL = torch.randint(4, 50, (rows, length), generator=torch.Generator().manual_seed(1))
    ids_BL[:, 0], ids_BL[:, -1] = START, END
    ids_BL[1, -4:] = torch.tensor([END, PAD, PAD, PAD])
    return ids_BL


def test_loss_and_gradients_equal_transformers():
    bert, ids_BL, module = make_bert(), texts(), make_module(rate=0.5, loss_weight=2.0)
    module.load_state_dict(
        {name: weight for name, weight in bert.cls.predictions.state_dict().items() if 'decoder' not in name}
    )
    embedding = bert.bert.embeddings.word_embeddings
    module.tie(embedding)
    masked = module.mask(ids_BL)
    attention_BL = (ids_BL != PAD).long()
    expected = 2 * bert(input_ids=masked.ids_BL, attention_mask=attention_BL, labels=masked.labels_BL).loss
    loss = module.loss(bert.bert(masked.ids_BL, attention_BL).last_hidden_state, masked)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    theirs = torch.autograd.grad(expected, [embedding.weight, bert.cls.predictions.transform.dense.weight])
    ours = torch.autograd.grad(loss, [embedding.weight, module.transform.dense.weight])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_shares_are_berts_and_special_tokens_stay():
    torch.manual_seed(0)
    ids_BL = torch.arange(50).repeat(4000, 1)
    is_word_BL = torch.arange(50) % 2 == 0
    ids, labels = make_module().mask(ids_BL, is_word_BL.expand_as(ids_BL))
    asked = labels != -100
    may = (ids_BL >= 4) & is_word_BL
    assert torch.equal(labels[asked], ids_BL[asked])
    assert torch.equal(ids[~asked], ids_BL[~asked])
    assert not asked[~may].any()
    # 92,000 tokens may be hidden, 13,800 are: four standard deviations of each share.
    assert asked[may].float().mean().item() == pytest.approx(0.15, abs=0.005)
    assert (ids[asked] == MASK).float().mean().item() == pytest.approx(0.8, abs=0.014)
    kept = (ids[asked] == ids_BL[asked]).float().mean().item()
    # One in 46 of the random entries is the token itself.
    assert kept == pytest.approx(0.1 + 0.1 / 46, abs=0.011)
    drawn = ids[asked & (ids != MASK) & (ids != ids_BL)]
    assert drawn.unique().tolist() == list(range(4, 50))


def test_the_same_seed_hides_the_same_words():
    module, found = make_module(rate=0.5), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(module.mask(texts()))
    assert torch.equal(found[0].ids_BL, found[1].ids_BL)
    assert torch.equal(found[0].labels_BL, found[1].labels_BL)
    assert not torch.equal(found[0].labels_BL, found[2].labels_BL)


def test_cut_states_and_no_hidden_word():
    module = make_module()
    embedding = torch.nn.Embedding(50, 12)
    module.tie(embedding)
    assert set(module.state_dict()) == {
        'bias',
        *(f'transform.{part}.{name}' for part in ('dense', 'LayerNorm') for name in ('weight', 'bias')),
    }
    hidden_BLC = torch.randn(2, 3, 12)
    labels_BL = torch.full((2, 5), -100)
    labels_BL[1, 2] = 7
    alone = module.loss(hidden_BLC[1:, 2:], MaskedIds(labels_BL, labels_BL[1:, 2:]))
    torch.testing.assert_close(module.loss(hidden_BLC, MaskedIds(labels_BL, labels_BL)), alone)
    nothing = module.loss(hidden_BLC, MaskedIds(labels_BL, torch.full_like(labels_BL, -100)))
    nothing.backward()
    assert nothing.item() == 0
    assert all(one.grad is not None and not one.grad.any() for one in [*module.parameters(), embedding.weight])


def test_what_does_not_fit_is_named():
    module = make_module()
    with pytest.raises(ConfigError, match=r'tie\(\)'):
        module.loss(torch.zeros(1, 1, 12), MaskedIds(torch.zeros(1, 1), torch.zeros(1, 1)))
    with pytest.raises(ConfigError, match=r'50 entries of width 12.*\(60, 12\)'):
        module.tie(torch.nn.Embedding(60, 12))
    with pytest.raises(ConfigError, match=r'\[70\] are not in a vocabulary of 50'):
        make_module(special_ids=(0, 70))
    with pytest.raises(ConfigError, match=r'random_share=0\.4'):
        make_module(random_share=0.4)
