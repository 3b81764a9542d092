import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlm_dense.checkpoints.packages import MINILM, packaged_file
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError, VocabularyError
from vlm_dense.text.encoders import HFTextEncoder, HFTextModel, OpenClipTextEncoder
from vlm_dense.text.encoders.sentence import SentenceEncoder

TEXTS = ['a photo of a cat.', 'x', 'two dogs in the snow', 'säge']
CLASSES = {'bert': 'BertModel', 'roberta': 'RobertaModel', 'xlm-roberta': 'XLMRobertaModel', 'mpnet': 'MPNetModel'}


def by_hand(folder: Path, kind: str, pooling: str) -> np.ndarray:
    """One text at a time, without padding."""
    import transformers

    model: Any = getattr(transformers, CLASSES[kind]).from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([tokenizer(text).input_ids]))
        states = output.last_hidden_state[0].numpy()
        rows.append({'mean': states.mean(0), 'cls': states[0], 'pooler': output.pooler_output[0].numpy()}[pooling])
    return np.stack(rows)


@pytest.mark.parametrize('pooling', ['mean', 'cls', 'pooler'])
@pytest.mark.parametrize('kind', list(CLASSES))
def test_equals_transformers(kind: str, pooling: str, hf_folder: Callable[[str], Path]) -> None:
    folder = hf_folder(kind)
    expected_ND = by_hand(folder, kind, pooling)
    encoder = HFTextEncoder(folder, pooling, chunk_size=3)
    np.testing.assert_allclose(encoder.encode(TEXTS, normalise=False).numpy(), expected_ND, atol=1e-5)
    expected_ND = expected_ND / np.linalg.norm(expected_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS).numpy(), expected_ND, atol=1e-5)


def test_equals_sentence_transformers() -> None:
    library = pytest.importorskip('sentence_transformers')
    texts = [*TEXTS, 'The quick brown fox jumps over the lazy dog. ' * 5]
    model = library.SentenceTransformer(str(packaged_file(MINILM, 'model')), device='cpu')
    expected_ND = model.encode(texts, convert_to_numpy=True)
    np.testing.assert_allclose(SentenceEncoder().encode(texts).numpy(), expected_ND, atol=1e-5)


def test_trainable_model_has_gradients_and_the_same_vectors(hf_folder: Callable[[str], Path]) -> None:
    folder = hf_folder('bert')
    model = HFTextModel(folder).eval()
    rows = model(TEXTS)
    torch.testing.assert_close(rows, HFTextEncoder(folder).encode(TEXTS, normalise=False), atol=1e-5, rtol=0)
    rows.sum().backward()
    assert model.core.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert model.fingerprint == HFTextEncoder(folder).fingerprint


def test_token_vectors_and_characters(hf_folder: Callable[[str], Path]) -> None:
    folder = hf_folder('roberta')
    found = HFTextEncoder(folder).encode_tokens(TEXTS)
    model = HFTextModel(folder).eval()
    for text, one in zip(TEXTS, found, strict=True):
        ids_1L = torch.tensor(model.tokenizer.ids([text]))
        torch.testing.assert_close(one.vectors_LD, model.token_states(ids_1L)[0].detach(), atol=1e-5, rtol=0)
        letters = {index for span in one.spans if span for index in range(*span)}
        assert letters == {index for index, letter in enumerate(text) if letter != ' '}


def test_pseudo_words(hf_folder: Callable[[str], Path]) -> None:
    model = HFTextModel(hf_folder('bert')).eval()
    ids = model.tokenizer.ids(['cat'])[0][1:-1]
    pseudo_1PC = model.core.embed(torch.tensor([ids])).detach().requires_grad_()
    found_1D = model.encode_pseudo(pseudo_1PC, 'a photo of a {}.')
    torch.testing.assert_close(found_1D, model(['a photo of a cat.']), atol=1e-5, rtol=0)
    found_1D.sum().backward()
    assert pseudo_1PC.grad.abs().sum() > 0


def sentence_folder(source: Path, target: Path, pooling: dict[str, Any], modules: tuple[str, ...] = ()) -> Path:
    shutil.copytree(source, target)
    paths = {'Transformer': '', 'Pooling': '1_Pooling', 'Normalize': '2_Normalize', 'Dense': '2_Dense'}
    steps = [{'path': paths[name], 'type': f'library.models.{name}'} for name in ('Transformer', 'Pooling', *modules)]
    (target / 'modules.json').write_text(json.dumps(steps))
    (target / '1_Pooling').mkdir()
    (target / '1_Pooling' / 'config.json').write_text(json.dumps(pooling))
    (target / 'sentence_bert_config.json').write_text(json.dumps({'max_seq_length': 12, 'do_lower_case': True}))
    return target


def test_folder_of_sentence_transformers(hf_folder: Callable[[str], Path], tmp_path: Path) -> None:
    source = hf_folder('bert')
    pooling = {'pooling_mode_cls_token': True, 'pooling_mode_mean_tokens': False}
    folder = sentence_folder(source, tmp_path / 'model', pooling, ('Normalize',))
    encoder = HFTextEncoder(folder)
    assert encoder.max_tokens == 12
    expected_ND = HFTextEncoder(source, 'cls').encode(TEXTS)
    torch.testing.assert_close(encoder.encode(TEXTS), expected_ND, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoder.encode(TEXTS, normalise=False), expected_ND, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoder.encode([text.upper() for text in TEXTS]), expected_ND, atol=1e-6, rtol=0)
    with pytest.raises(VocabularyError, match='this text encoder reads 12'):
        encoder.encode(['cat ' * 12])
    assert HFTextEncoder(folder, 'mean').encode(['cat x']).allclose(HFTextEncoder(source).encode(['cat x']), atol=1e-6)
    fingerprints = {HFTextEncoder(folder, name, tokens).fingerprint for name in (None, 'mean') for tokens in (None, 9)}
    assert len(fingerprints) == 4


@pytest.mark.parametrize('named', ['mean', ['mean']])
def test_newer_pooling_file(named: Any, hf_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = sentence_folder(hf_folder('bert'), tmp_path / 'model', {'pooling_mode': named})
    expected_ND = HFTextEncoder(hf_folder('bert'), 'mean').encode(TEXTS, normalise=False)
    torch.testing.assert_close(HFTextEncoder(folder).encode(TEXTS, normalise=False), expected_ND)


@pytest.mark.parametrize(
    ('pooling', 'modules', 'message'),
    [
        ({'pooling_mode_max_tokens': True}, (), 'asks for the pooling pooling_mode_max_tokens'),
        ({'pooling_mode_mean_tokens': True, 'pooling_mode_cls_token': True}, (), 'pooling_mode_mean_tokens . pooling'),
        ({'pooling_mode_mean_tokens': True}, ('Dense',), "a step 'Dense' that is not known here"),
    ],
)
def test_folder_that_asks_too_much(
    pooling: dict[str, Any], modules: tuple[str, ...], message: str, hf_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = sentence_folder(hf_folder('bert'), tmp_path / 'model', pooling, modules)
    with pytest.raises(ConfigError, match=message):
        HFTextEncoder(folder)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'pooling': 'max'}, "pooling='max': write 'mean', 'cls', 'pooler'"),
        ({'attention': 'flash'}, "attention='flash': write 'sdpa' or 'eager'"),
        ({'max_tokens': 63}, r'max_tokens=63, but the model in .* reads 62'),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str, hf_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=message):
        HFTextModel(hf_folder('roberta'), **settings)


def test_longest_text_is_read(hf_folder: Callable[[str], Path]) -> None:
    for kind in ('bert', 'roberta', 'mpnet'):
        limit = {'bert': 64}.get(kind, 62)
        encoder = HFTextEncoder(hf_folder(kind), max_tokens=limit)
        text = ' '.join('x' * (limit - 2)) if kind == 'bert' else '!' * (limit - 2)
        assert encoder.count_tokens([text]) == [limit]
        assert encoder.encode([text]).isfinite().all()


def test_missing_model_lists_the_places() -> None:
    with pytest.raises(MissingFileError, match=r"(?s)the model 'nobody/no-model'.*Hugging Face's cache"):
        HFTextEncoder('nobody/no-model')
    with pytest.raises(MissingFileError, match='/no/such/folder'):
        HFTextEncoder('/no/such/folder')
    with pytest.raises(ConfigError, match=r'is a file\. Give the folder'):
        HFTextEncoder(__file__)


def test_models_in_a_folder_of_weights(
    hf_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, add_clip: Callable[..., str]
) -> None:
    folder = hf_folder('bert')
    monkeypatch.setenv('VLM_DENSE_WEIGHTS', str(folder.parents[1]))
    assert HFTextEncoder('tiny/bert').fingerprint == HFTextEncoder(folder).fingerprint
    text = {'context_length': 32, 'width': 64, 'heads': 2, 'layers': 1, 'hf_tokenizer_name': 'tiny/bert'}
    assert OpenClipTextEncoder(add_clip('tiny-in-weights', text)).encode(['cat']).shape == (1, 32)


def test_damaged_files(hf_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / 'model'
    shutil.copytree(hf_folder('bert'), folder)
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match='does not load as a text model'):
        HFTextModel(folder)
    (folder / 'modules.json').write_text('{')
    with pytest.raises(CheckpointError, match=r"modules\.json' cannot be read as JSON"):
        HFTextEncoder(folder)
    weights.unlink()
    (folder / 'modules.json').unlink()
    with pytest.raises(MissingFileError, match='there are no weights in'):
        _ = HFTextEncoder(folder).fingerprint


def test_registered_types_build(hf_folder: Callable[[str], Path]) -> None:
    from vlm_dense.registry import MODELS

    importlib.import_module('vlm_dense.text.encoders')
    for name in ('HFTextEncoder', 'HFTextModel'):
        assert MODELS.build({'type': f'vlm_dense.{name}', 'model': str(hf_folder('bert'))}).embed_dim == 32
