"""When the network may be asked for weights, and keeping libraries from asking by themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vlm_dense.errors import ConfigError

OFFLINE = 'VLM_DENSE_OFFLINE'
HUB_SWITCHES = ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE')
ON = ('1', 'true', 'yes', 'on')
OFF = ('0', 'false', 'no', 'off')


def why_not_fetch() -> str:
    """Why nothing may be fetched now; empty where it may.

    Raises:
        ConfigError: If ``VLM_DENSE_OFFLINE`` is neither on nor off.
    """
    wish = os.environ.get(OFFLINE, '').strip().lower()
    if wish not in ('', *ON, *OFF):
        raise ConfigError(f"{OFFLINE}='{wish}' is neither on nor off. Set it to 1 or 0.")
    if wish in ON:
        return f'{OFFLINE}={wish} is set'
    for name in HUB_SWITCHES:
        if os.environ.get(name, '').strip().lower() in ON:
            return f'{name} is set'
    return ''


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub and transformers from reaching for the network inside the block."""
    import huggingface_hub.constants as hub

    switches: list[tuple[Any, str]] = [(hub, 'HF_HUB_OFFLINE')]
    try:
        import transformers.utils.hub as transformers_hub

        if hasattr(transformers_hub, '_is_offline_mode'):  # transformers 4 keeps a copy of the switch
            switches.append((transformers_hub, '_is_offline_mode'))
    except ImportError:
        pass
    before = [getattr(module, name) for module, name in switches]
    try:
        for module, name in switches:
            setattr(module, name, True)
        yield
    finally:
        for (module, name), value in zip(switches, before, strict=True):
            setattr(module, name, value)
