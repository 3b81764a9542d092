import pytest
import torch

from vlm_dense.errors import ConfigError
from vlm_dense.text import TextBank, Vocabulary
from vlm_dense.text.extra_rows import ExtraRows


def test_rows_are_last_named_and_what_they_say(hash_encoder) -> None:
    bank = TextBank(hash_encoder, 'name', cache_dir=None)
    extra = ExtraRows(8, {'void': 'zero', 'other': 'learned', 'background': dict(text='background', bank=bank)})
    text_KD = bank(Vocabulary.from_words(['cat', 'dog']))
    both = extra(text_KD)
    assert extra.names == ('void', 'other', 'background')
    assert torch.equal(both[:2], text_KD)
    assert torch.equal(both[2], torch.zeros(8))
    torch.testing.assert_close(both[3], extra.learned_ED[0] / extra.learned_ED[0].norm())
    assert torch.equal(both[4], bank(Vocabulary.from_words(['background']))[0])
    assert list(extra.state_dict()) == ['learned_ED']


def test_gradient_reaches_learned_rows_and_is_tangential() -> None:
    extra = ExtraRows(5, {'a': 'learned', 'b': 'zero', 'c': 'learned'})
    (extra(torch.zeros(1, 5)) * torch.randn(4, 5)).sum().backward()
    gradient = extra.learned_ED.grad
    assert gradient.abs().sum() > 0
    assert (gradient * extra.learned_ED).sum(1).abs().max() < 1e-4


def test_a_raw_row_keeps_its_length_beside_a_unit_row() -> None:
    extra = ExtraRows(5, {'background': 'learned', 'zero': 'zero', 'void': 'learned_raw'})
    with torch.no_grad():
        extra.learned_ED.copy_(torch.tensor([[3.0, 4.0, 0.0, 0.0, 0.0], [0.0, 3.0, 4.0, 0.0, 0.0]]))
    expected = torch.tensor([[0.6, 0.8, 0.0, 0.0, 0.0], [0.0] * 5, [0.0, 3.0, 4.0, 0.0, 0.0]])
    torch.testing.assert_close(extra.rows(), expected)


def test_type_follows_the_words() -> None:
    assert ExtraRows(4, {'a': 'learned'})(torch.zeros(2, 4, dtype=torch.float16)).dtype == torch.float16


@pytest.mark.parametrize('row', ['ones', dict(text='x'), dict(txt='x', bank={})])
def test_wrong_rows_are_named(row) -> None:
    with pytest.raises(ConfigError, match="extra row 'void'"):
        ExtraRows(4, {'void': row})


def test_width_of_the_bank(hash_encoder) -> None:
    with pytest.raises(ConfigError, match='width 8, the words have 4'):
        ExtraRows(4, {'void': dict(text='x', bank=TextBank(hash_encoder, cache_dir=None))})
