"""Banks against what other libraries make of the same words and weights."""

import pytest
import torch

from vlm_dense.text import OpenClipTextEncoder, TextBank, Vocabulary

WORDS = ['cat', 'traffic light', 'aerosol can', 'säge', 'a long name']


@pytest.mark.parametrize(('prompt', 'templates'), [('openai_80', 80), ('openai_7', 7)])
def test_open_clip_zero_shot_classifier(tiny_clip: str, prompt: str, templates: int) -> None:
    import open_clip
    from open_clip import zero_shot_metadata

    from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip

    published = {80: zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES, 7: zero_shot_metadata.SIMPLE_IMAGENET_TEMPLATES}
    model = load_open_clip(find_open_clip(tiny_clip, None))
    tokenizer = open_clip.get_tokenizer(tiny_clip, context_length=16)
    weight_DK = open_clip.build_zero_shot_classifier(model, tokenizer, WORDS, published[templates])
    text_KD = TextBank(OpenClipTextEncoder(tiny_clip), prompt, cache_dir=None)(Vocabulary.from_words(WORDS))
    assert (text_KD - weight_DK.T).abs().max() <= 1e-5


def test_sentence_transformers_on_the_real_minilm() -> None:
    sentence_transformers = pytest.importorskip('sentence_transformers')
    from vlm_dense.checkpoints.packages import MINILM, MINILM_FOLDER, packaged_file
    from vlm_dense.text import HFTextEncoder

    folder = packaged_file(MINILM, MINILM_FOLDER)
    model = sentence_transformers.SentenceTransformer(str(folder), device='cpu')
    expected_KD = torch.tensor(model.encode([f'a photo of a {word}.' for word in WORDS], normalize_embeddings=True))
    text_KD = TextBank(HFTextEncoder(folder), 'single', cache_dir=None)(Vocabulary.from_words(WORDS))
    assert (text_KD - expected_KD).abs().max() <= 1e-5
