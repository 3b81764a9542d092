"""Make every checkpoint that mmengine reads go through ``read_checkpoint``."""

from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.errors import MissingFileError


def install() -> None:
    """Replace mmengine's readers of local files and of URLs. Calling it again changes nothing.

    ``Runner.load_checkpoint``, ``Runner.resume`` and ``init_cfg=dict(type='Pretrained', ...)`` then read
    ``.pth`` files of mmengine itself, and ``.safetensors``, without running code.
    """
    from mmengine.runner import checkpoint

    checkpoint.CheckpointLoader.register_scheme('', load_from_local, force=True)
    # All downloading schemes (http, torchvision, open-mmlab...) end in this function, and torch's version of it
    # unpickles whatever it has downloaded: its own ``weights_only`` is False by default.
    checkpoint.load_url = load_url


# mmengine's log line takes the name of a scheme from behind 'load_from_'.
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """The reader for paths; see ``read_checkpoint``."""
    return read_checkpoint(filename, map_location)


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> dict[str, Any]:
    """Read a checkpoint from a URL that the user named, from the cache of torch's hub if it is there.

    Args:
        url: Address of the file.
        model_dir: Folder to keep it in; the hub's ``checkpoints`` by default.
        map_location: As in ``torch.load``.
        progress: Show a progress bar while downloading.

    Raises:
        MissingFileError: If the file is not cached and cannot be fetched.
        CheckpointError: As ``read_checkpoint``.
    """
    folder = Path(model_dir) if model_dir else Path(torch.hub.get_dir(), 'checkpoints')
    file = folder / Path(urlparse(url).path).name
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=progress)
        except (URLError, OSError) as error:
            raise MissingFileError(
                f"cannot fetch '{url}': {error}. Download it elsewhere and put it at '{file}', or give its path."
            ) from error
    return read_checkpoint(file, map_location)
