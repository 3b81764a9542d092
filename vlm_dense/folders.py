"""Where things are kept between runs."""

import os
from pathlib import Path

CACHE_VARIABLE = 'VLM_DENSE_CACHE'


def cache_root() -> Path:
    """The folder for downloads and text banks: ``$VLM_DENSE_CACHE``, or ``~/.cache/vlm_dense``."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / '.cache' / 'vlm_dense').expanduser()
