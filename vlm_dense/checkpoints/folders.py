"""Which file of a folder holds its weights."""

from pathlib import Path

from vlm_dense.errors import MissingFileError

# The layouts of open_clip and of transformers; safetensors first.
KNOWN_NAMES = (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.safetensors',
    'model.safetensors',
    'model.safetensors.index.json',
    'open_clip_pytorch_model.bin',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)
SUFFIXES = ('.safetensors', '.pt', '.pth', '.bin')


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder: one of the usual names, or else the only one.

    Raises:
        MissingFileError: If there is none, or several with unusual names.
    """
    for name in KNOWN_NAMES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    if len(others) == 1:
        return others[0]
    found = f'several files of weights ({", ".join(path.name for path in others)})' if others else 'no file of weights'
    raise MissingFileError(f"the folder '{folder}' holds {found}. Give the path of the file.")
