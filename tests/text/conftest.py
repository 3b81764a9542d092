"""A tiny open_clip architecture and an encoder that needs no weights."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

TINY_CLIP = 'vlm-dense-text-tiny'


@pytest.fixture(scope='session')
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    import open_clip

    path: Path = tmp_path_factory.mktemp('open_clip') / f'{TINY_CLIP}.json'
    config = {
        'embed_dim': 32,
        'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 64, 'patch_size': 16},
        'text_cfg': {'context_length': 16, 'vocab_size': 49408, 'width': 64, 'heads': 2, 'layers': 2},
    }
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return TINY_CLIP


@pytest.fixture(scope='session')
def bridge_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Keeps the embeddings of the 1000 class names, which take seconds to make."""
    return str(tmp_path_factory.mktemp('bridge'))


class HashEncoder:
    """Each text has one pseudo-random vector; counts the texts that it was asked for."""

    embed_dim = 8

    def __init__(self, salt: str = '') -> None:
        self.fingerprint = f'hash:{salt}'
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked.extend(texts)
        rows = [hashlib.sha256((self.fingerprint + text).encode()).digest()[:8] for text in texts]
        return F.normalize(torch.tensor([[byte - 127.5 for byte in row] for row in rows]), dim=-1)


@pytest.fixture
def hash_encoder() -> HashEncoder:
    return HashEncoder()
