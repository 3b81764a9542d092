"""Names of requests: what was asked, of which weights, by which program."""

import hashlib
import json
import platform
from importlib.metadata import version
from typing import Any

from torch import nn

from vlm_dense.checkpoints.open_clip_models import named_sha256

PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmdet', 'mmsegmentation', 'open_clip_torch', 'faster-coco-eval')


def hash_settings(settings: Any) -> str:
    """SHA-256 of nested settings, whatever the order of their keys."""
    text = json.dumps(settings, sort_keys=True, default=repr, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_weights(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names, frozen ones included."""
    return named_sha256([*sorted(model.named_parameters()), *sorted(model.named_buffers())])


def text_of(bank: Any) -> str | None:
    """Names what makes rows of words, which is no part of the model; None for a bank that does not tell."""
    if isinstance(prompts := getattr(bank, 'prompts', None), nn.Module):
        return hash_weights(prompts)
    encoder = getattr(bank, 'encoder', None) or getattr(getattr(bank, 'bank', None), 'encoder', None)
    return getattr(encoder, 'fingerprint', None)


def versions() -> dict[str, str]:
    """Of this package, of what it stands on, and of Python."""
    import vlm_dense

    return {
        'vlm_dense': vlm_dense.__version__,
        'python': platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def prompt_of(bank: Any) -> Any:
    """The prompt set, template or templates that a text bank uses; None where it does not tell."""
    for inner in (bank, getattr(bank, 'bank', None)):
        if (prompt := getattr(inner, 'prompt', None)) is not None:
            return prompt if isinstance(prompt, str) else list(prompt)
    return None
