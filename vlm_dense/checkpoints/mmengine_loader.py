"""Make every checkpoint that mmengine reads go through ``read_checkpoint``."""

from pathlib import Path
from typing import Any

from vlm_dense.checkpoints.finding import find, find_weights
from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.checkpoints.specs import HUB_FILE, Wanted
from vlm_dense.checkpoints.urls import UrlFile


def install() -> None:
    """Replace mmengine's readers of local files and of URLs, and add ``hf://``. Calling it again changes nothing.

    ``Runner.load_checkpoint``, ``Runner.resume`` and ``init_cfg=dict(type='Pretrained', ...)`` then read
    ``.pth`` files of mmengine itself, ``.safetensors`` and ``hf://OWNER/REPO/FILE[@REVISION]``, without running code.
    """
    from mmengine.runner import checkpoint

    checkpoint.CheckpointLoader.register_scheme('', load_from_local, force=True)
    checkpoint.CheckpointLoader.register_scheme(HUB_FILE, load_from_hf, force=True)
    # All downloading schemes (http, torchvision, open-mmlab...) end in this function, and torch's version of it
    # unpickles whatever it has downloaded: its own ``weights_only`` is False by default.
    checkpoint.load_url = load_url


# mmengine's log line takes the name of a scheme from behind 'load_from_'.
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """The reader for paths; see ``read_checkpoint``."""
    return read_checkpoint(filename, map_location)


def load_from_hf(filename: str, map_location: Any = None) -> dict[str, Any]:
    """The reader for ``hf://OWNER/REPO/FILE[@REVISION]``, from a local folder or Hugging Face's cache.

    Raises:
        MissingFileError: If it is not on this machine; the message holds the command that fetches it.
    """
    return read_checkpoint(find_weights(filename), map_location)


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> dict[str, Any]:
    """Read a checkpoint from a URL that the user wrote into a config, from a folder or cache if it is there.

    Writing the URL asks for the download; ``VLM_DENSE_OFFLINE=1`` and ``HF_HUB_OFFLINE=1`` forbid it.

    Args:
        url: Address of the file.
        model_dir: Folder to keep it in; the hub's ``checkpoints`` by default.
        map_location: As in ``torch.load``.
        progress: Only there because mmengine passes it; the log names the file and its size.

    Raises:
        MissingFileError: If the file is not cached and cannot be fetched.
        CheckpointError: As ``read_checkpoint``.
    """
    remote = UrlFile(url, Path(model_dir) if model_dir else None)
    return read_checkpoint(find(Wanted(f"'{url}'", url, (remote,))), map_location)
