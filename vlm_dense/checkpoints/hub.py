"""Files and whole models on the Hugging Face hub, which keeps its own cache and writes it atomically."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mmengine.logging import print_log

from vlm_dense.checkpoints.folders import weights_in
from vlm_dense.checkpoints.remotes import Place
from vlm_dense.checkpoints.sharded import is_index, shards_of
from vlm_dense.errors import MissingFileError

CONFIGS = ('config.json', 'open_clip_config.json')
TOKENIZERS = ('tokenizer.json', 'tokenizer_config.json', 'vocab.txt', 'vocab.json')
# What a model needs beside its weights: configs, tokenizers, and sentence-transformers' numbered folders.
BESIDE_WEIGHTS = ('*.json', '*.txt', '*.model', '[0-9]_*/*')
# Ways to store the same weights, best first; only one of them is fetched.
STORES = (
    ('model.safetensors',),
    ('model.safetensors.index.json', 'model-*-of-*.safetensors'),
    ('open_clip_model.safetensors',),
    ('open_clip_pytorch_model.safetensors',),
    ('pytorch_model.bin',),
    ('pytorch_model.bin.index.json', 'pytorch_model-*-of-*.bin'),
    ('open_clip_pytorch_model.bin',),
)


@dataclass(frozen=True)
class HubFile:
    """One file of a repository; ``revision`` is a branch, a tag or a commit."""

    repo: str
    filename: str
    revision: str | None = None

    def under(self, folder: Path) -> Iterator[Place]:
        """The file in a folder named after the repository, with or without its owner."""
        for home in _homes(folder, self.repo):
            path = home / self.filename
            yield Place(f"'{path}'", path if path.is_file() else None)

    def cached(self) -> Iterator[Place]:
        """Hugging Face's cache."""
        path = _cached_file(self.repo, self.filename, self.revision)
        yield Place(f"'{self.filename}' of '{self.repo}' in Hugging Face's cache '{_hub_cache()}'", path)

    def fetch(self, to: Path | None) -> Path:
        """Download the file into ``to/OWNER/REPO`` or into the hub's cache."""
        sizes = _sizes(self.repo, self.revision)
        if self.filename not in sizes:
            raise MissingFileError(f"the repository '{self.repo}' holds no '{self.filename}'. Check the name.")
        return _download(self.repo, self.revision, [self.filename], sizes, to)


@dataclass(frozen=True)
class HubFolder:
    """A whole model: its config, its tokenizer and one set of its weights, or the first two only."""

    repo: str
    revision: str | None = None
    with_weights: bool = True

    def under(self, folder: Path) -> Iterator[Place]:
        """A folder named after the repository, with or without its owner."""
        yield from (self._place(home, f"'{home}'") for home in _homes(folder, self.repo))

    def cached(self) -> Iterator[Place]:
        """Hugging Face's cache."""
        found = [_cached_file(self.repo, name, self.revision) for name in CONFIGS]
        snapshot = next((path.parent for path in found if path), None)
        yield self._place(snapshot, f"'{self.repo}' in Hugging Face's cache '{_hub_cache()}'")

    def fetch(self, to: Path | None) -> Path:
        """Download the model into ``to/OWNER/REPO`` or into the hub's cache."""
        sizes = _sizes(self.repo, self.revision)
        return _download(self.repo, self.revision, self._wanted(list(sizes)), sizes, to).parent

    def _place(self, folder: Path | None, text: str) -> Place:
        if folder is None or not folder.is_dir():
            return Place(text)
        problem = self._lacks(folder)
        return Place(text, None if problem else folder, problem)

    def _lacks(self, folder: Path) -> str:
        if not any((folder / name).is_file() for name in CONFIGS):
            return f'incomplete: no {CONFIGS[0]}'
        if not self.with_weights:
            return '' if any((folder / name).is_file() for name in TOKENIZERS) else 'incomplete: no tokenizer'
        try:
            weights = weights_in(folder)
            if is_index(weights):
                shards_of(weights)
        except MissingFileError as error:
            return f'incomplete: {error}'
        return ''

    def _wanted(self, names: Sequence[str]) -> list[str]:
        beside = [name for name in names if _matches(name, BESIDE_WEIGHTS) and not name.endswith('.index.json')]
        # With the config last, a folder that has one has everything.
        beside.sort(key=lambda name: name in CONFIGS)
        if not beside or beside[-1] not in CONFIGS:
            raise MissingFileError(f"the repository '{self.repo}' holds no {CONFIGS[0]}. Fetch its file by name.")
        if not self.with_weights:
            return beside
        for store in STORES:
            weights = [name for name in names if '/' not in name and _matches(name, store)]
            if store[0] in weights:
                return [*weights, *beside]
        raise MissingFileError(f"the repository '{self.repo}' names its weights unusually. Fetch its file by name.")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    # fnmatch lets '*' match a '/', and what lies deeper than one folder is another model's.
    return any(fnmatch(name, pattern) and name.count('/') == pattern.count('/') for pattern in patterns)


def _homes(folder: Path, repo: str) -> list[Path]:
    return list(dict.fromkeys((folder / repo, folder / repo.rsplit('/', 1)[-1])))


def _hub_cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _cached_file(repo: str, filename: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, filename, cache_dir=_hub_cache(), revision=revision)
    return Path(found) if isinstance(found, str) else None


def _sizes(repo: str, revision: str | None) -> dict[str, int]:
    """Names and bytes of all files of a repository."""
    from huggingface_hub import HfApi

    try:
        siblings = HfApi().model_info(repo, revision=revision, files_metadata=True).siblings or []
    # Whichever client the hub uses today, its errors are of no common kind.
    except Exception as error:
        raise _unreachable(repo, error) from error
    return {sibling.rfilename: sibling.size or 0 for sibling in siblings}


def _download(repo: str, revision: str | None, names: Sequence[str], sizes: dict[str, int], to: Path | None) -> Path:
    """Fetch the files one after another; the path of the last."""
    from huggingface_hub import hf_hub_download

    local, cache = (to / repo, None) if to else (None, _hub_cache())
    path = ''
    for name in names:
        text = f"fetching '{name}' of '{repo}' ({sizes[name] / 1e6:.1f} MB) into '{local or cache}'"
        print_log(text, logger='current', level=logging.INFO)
        try:
            path = hf_hub_download(repo, name, revision=revision, local_dir=local, cache_dir=cache)
        except Exception as error:
            raise _unreachable(repo, error) from error
    return Path(path).absolute()


def _unreachable(repo: str, error: Exception) -> MissingFileError:
    reason = ' '.join(str(error).split())
    return MissingFileError(
        f"cannot fetch '{repo}' from the Hugging Face hub: {type(error).__name__}: {reason}. "
        'Check the name and the connection, or copy the folder from a machine that has it and give its path.'
    )
