import open_clip
import pytest
import torch

from vlm_dense.errors import MissingFileError, VocabularyError
from vlm_dense.text import OpenClipTextEncoder, TextBank, Vocabulary
from vlm_dense.text.prompts import load_prompts


@pytest.fixture
def checkpoint(tiny_clip: str, tmp_path) -> tuple[str, torch.nn.Module]:
    model = open_clip.create_model(tiny_clip).eval()
    path = tmp_path / 'tiny.pt'
    torch.save(model.state_dict(), path)
    return str(path), model


@pytest.mark.parametrize('templates', [['a photo of a {}.'], ['a {}', 'the {} there', 'itap of my {}.']])
def test_equals_open_clips_zero_shot_classifier(tiny_clip: str, checkpoint, templates: list[str]) -> None:
    path, model = checkpoint
    words = ['cat', 'traffic light', 'owl', 'säge', 'Zebra']
    expected_DK = open_clip.build_zero_shot_classifier(model, open_clip.get_tokenizer(tiny_clip), words, templates)
    bank = TextBank(OpenClipTextEncoder(tiny_clip, path, chunk_size=4), templates)
    torch.testing.assert_close(bank(Vocabulary.from_words(words)), expected_DK.T, atol=1e-5, rtol=0)


def test_equals_open_clip_with_articles(tiny_clip: str, checkpoint) -> None:
    path, model = checkpoint
    prompts = load_prompts('vild')
    functions = [lambda word, row=row: prompts.texts(word)[row] for row in range(63)]
    words = ['owl', 'cat']
    expected_DK = open_clip.build_zero_shot_classifier(model, open_clip.get_tokenizer(tiny_clip), words, functions)
    text_KD = TextBank(OpenClipTextEncoder(tiny_clip, path), 'vild')(Vocabulary.from_words(words))
    torch.testing.assert_close(text_KD, expected_DK.T, atol=1e-5, rtol=0)


def test_shape_type_and_no_texts(tiny_clip: str) -> None:
    encoder = OpenClipTextEncoder(tiny_clip)
    rows = encoder.encode(['cat', 'dog'])
    assert rows.shape == (2, encoder.embed_dim) == (2, 32)
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    assert encoder.encode([]).shape == (0, 32)


def test_random_weights_are_the_same_everywhere_and_leave_the_seed_alone(tiny_clip: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = OpenClipTextEncoder(tiny_clip)
    rows = first.encode(['cat'])
    assert torch.equal(torch.rand(3), expected)
    second = OpenClipTextEncoder(tiny_clip)
    assert torch.equal(second.encode(['cat']), rows)
    assert first.fingerprint == second.fingerprint


def test_fingerprint_sees_the_weights(tiny_clip: str, checkpoint, tmp_path) -> None:
    path, model = checkpoint
    first = OpenClipTextEncoder(tiny_clip, path).fingerprint
    with torch.no_grad():
        model.ln_final.bias.add_(1e-3)
    torch.save(model.state_dict(), tmp_path / 'other.pt')
    other = OpenClipTextEncoder(tiny_clip, str(tmp_path / 'other.pt')).fingerprint
    assert len({first, other, OpenClipTextEncoder(tiny_clip).fingerprint}) == 3


def test_long_text_is_refused_not_cut(tiny_clip: str) -> None:
    encoder = OpenClipTextEncoder(tiny_clip)
    fits = ' '.join(['dog'] * 14)  # 14 words, start and end
    assert encoder.encode([fits]).shape == (1, 32)
    with pytest.raises(VocabularyError, match=r"'dog dog .*' takes 17 tokens; this text encoder reads 16"):
        encoder.encode(['cat', f'{fits} dog'])


def test_the_image_half_is_dropped(tiny_clip: str) -> None:
    encoder = OpenClipTextEncoder(tiny_clip)
    encoder.encode(['cat'])
    names = {name.split('.')[1] for name, _ in encoder.tower.named_parameters()}
    assert names == {'token_embedding', 'positional_embedding', 'transformer', 'ln_final', 'text_projection'}
    assert not any(parameter.requires_grad for parameter in encoder.tower.parameters())


def test_name_and_weights_as_one_string(tiny_clip: str, checkpoint) -> None:
    path, _ = checkpoint
    assert OpenClipTextEncoder(f'{tiny_clip}:{path}').fingerprint == OpenClipTextEncoder(tiny_clip, path).fingerprint


def test_tokenizer_that_is_not_cached(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    encoder = OpenClipTextEncoder('ViT-B-16-SigLIP')
    with pytest.raises(
        MissingFileError, match=r"tokenizer 'timm/ViT-B-16-SigLIP' of .* is not in Hugging Face's cache"
    ):
        encoder.encode(['cat'])
