from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from bert_parts import bert_folder
from mmdet.models.language_models.bert import BertEncoder
from torch import nn

from vlm_dense.errors import ConfigError, MissingFileError, VocabularyError
from vlm_dense.models.language import TokenLanguageModel
from vlm_dense.text.prompt_packing import Prompt, join_words, word_texts

TEXTS = ['a cat. traffic light', 'x', 'two dogs in the snow']


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert_folder(tmp_path_factory.mktemp('bert'))


def prompt(*words: str) -> Prompt:
    return join_words(word_texts(words), range(len(words)))


def wide(model: TokenLanguageModel, length: int = 256) -> torch.Tensor:
    ids_BL = model.pad(model.tokenizer.ids(TEXTS))
    return torch.cat([ids_BL, ids_BL.new_zeros(len(TEXTS), length - ids_BL.shape[1])], 1)


@pytest.mark.parametrize('layers', [1, 2])
def test_equals_mmdet_padded_to_the_window(layers: int, folder: Path) -> None:
    model = TokenLanguageModel(folder, averaged_layers=layers).eval()
    theirs = BertEncoder(str(folder), num_layers_of_embedded=layers).eval()
    backbone = nn.Sequential(OrderedDict(body=theirs))
    backbone.load_state_dict(model.language_backbone.state_dict(), strict=True)
    ids_BL = wide(model)
    asked = dict(input_ids=ids_BL, attention_mask=(ids_BL > 0).long(), position_ids=None, token_type_ids=None)
    with torch.no_grad():
        expected, found = backbone(asked), model(ids_BL)
    longest = found.hidden_BLC.shape[1]
    assert longest == max(map(len, model.tokenizer.ids(TEXTS))) < 256
    assert torch.equal(found.is_token_BL, expected['masks'][:, :longest].bool())
    for ours_BLC, name in ((found.hidden_BLC, 'hidden'), (found.embedded_BLC, 'embedded')):
        real_NC = ours_BLC[found.is_token_BL]
        torch.testing.assert_close(real_NC, expected[name][:, :longest][found.is_token_BL], atol=2e-6, rtol=0)
    assert found.embedded_BLC[~found.is_token_BL].count_nonzero() == 0
    assert expected['embedded'][:, longest:].count_nonzero() == 0


def test_names_of_weights_and_left_over_positions(folder: Path) -> None:
    model = TokenLanguageModel(folder)
    names = list(model.state_dict())
    assert all(name.startswith('language_backbone.body.model.') for name in names)
    assert not [name for name in names if 'pooler' in name or 'position_ids' in name]
    old = model.state_dict() | {'language_backbone.body.model.embeddings.position_ids': torch.arange(512)[None]}
    model.load_state_dict(old, strict=True)


def test_config_and_vocabulary_are_enough_for_a_checkpoint_with_weights(folder: Path, tmp_path: Path) -> None:
    bare = bert_folder(tmp_path / 'bare', weights=False)
    assert sorted(path.name for path in bare.iterdir()) == ['config.json', 'vocab.txt']
    with pytest.raises(MissingFileError, match=r'set language_model\.pretrained=False'):
        TokenLanguageModel(bare)
    model, full = TokenLanguageModel(bare, pretrained=False).eval(), TokenLanguageModel(folder).eval()
    model.load_state_dict(full.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(model(wide(model)).hidden_BLC, full(wide(full)).hidden_BLC, atol=1e-6, rtol=0)


def test_checkpointing_changes_no_gradient(folder: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = TokenLanguageModel(folder, checkpointing=checkpointing).train()
        model(wide(model)).hidden_BLC.square().sum().backward()
        gradients.append({name: one.grad for name, one in model.named_parameters()})
    assert all(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-4)


def test_frozen(folder: Path) -> None:
    model = TokenLanguageModel(folder, frozen=True)
    assert not model.train().training
    assert not [name for name, one in model.named_parameters() if one.requires_grad]
    assert TokenLanguageModel(folder).train().training


class Counted:
    """How often the transformer ran."""

    def __init__(self, model: TokenLanguageModel) -> None:
        self.runs = 0
        model.language_backbone.body.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.runs += 1


def test_prompts_are_read_once_until_the_weights_change(folder: Path) -> None:
    model = TokenLanguageModel(folder, cached_prompts=2).eval()
    counted = Counted(model)
    asked = [prompt('cat', 'red car'), prompt('dog')]
    with torch.no_grad():
        first = model.encode(asked)
        assert model.encode(asked)[0] is first[0]
        assert counted.runs == 2
        model.encode([*asked, prompt('owl')])
        assert (counted.runs, len(model._cache)) == (3, 2)
        model.load_state_dict({name: weight * 1.1 for name, weight in model.state_dict().items()})
        changed = model.encode(asked)[0].text.hidden_BLC
        assert counted.runs == 5
        assert (changed - first[0].text.hidden_BLC).abs().max() > 1e-3
        model.train()
        model.eval()
        model.encode(asked)
        assert counted.runs == 7
        model.double()
        assert model.encode(asked)[0].text.hidden_BLC.dtype == torch.float64
        runs = counted.runs
        next(model.parameters()).mul_(0.5)  # as an optimizer writes
        model.encode(asked)
        assert counted.runs == runs + 2
    assert model.encode(asked)[0].text.hidden_BLC.requires_grad


def test_words_of_a_prompt(folder: Path) -> None:
    model = TokenLanguageModel(folder).eval()
    (found,) = model.encode([Prompt('cat. wombat', (5, 3), (((0, 3),), ((5, 11),)))])
    pieces = model.tokenizer._tokenizer.convert_ids_to_tokens(model.tokenizer.ids(['cat. wombat'])[0])
    assert pieces == ['[CLS]', 'cat', '.', 'womb', '##at', '[SEP]']
    expected_KL = torch.tensor([[0, 1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0]])
    torch.testing.assert_close(found.token_map_KL, expected_KL)
    assert found.rows_K.tolist() == [5, 3]


def test_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match='not on this machine'):
        TokenLanguageModel('no/such-bert')
    with pytest.raises(ConfigError, match='averaged_layers=3, but'):
        TokenLanguageModel(folder, averaged_layers=3)
    with pytest.raises(ConfigError, match='max_tokens=600'):
        TokenLanguageModel(folder, max_tokens=600)
    with pytest.raises(VocabularyError, match='takes 302 tokens; this text encoder reads 256'):
        TokenLanguageModel(folder).tokens(prompt(' '.join(['dog'] * 300)))
