"""The ways to name weights that are not a path, and what each means."""

import re
from dataclasses import dataclass

from vlm_dense.checkpoints.hub import HubFile, HubFolder
from vlm_dense.checkpoints.remotes import URL_CACHE, Remote
from vlm_dense.checkpoints.urls import UrlFile
from vlm_dense.errors import ConfigError, MissingFileError

OPEN_CLIP = 'open_clip:'
HUB_FILE = 'hf://'
HUB_FOLDER = 'hf:'
URLS = ('http://', 'https://')
FORMS = 'open_clip:NAME:TAG, hf:OWNER/REPO[@REVISION], hf://OWNER/REPO/FILE[@REVISION] or a URL'
REPO = re.compile(r'[\w.-]+(/[\w.-]+)?')
FILE_SUFFIXES = ('.pt', '.pth', '.bin', '.safetensors', '.json', '.npz')


@dataclass(frozen=True)
class Wanted:
    """Weights that were asked for.

    Attributes:
        title: How a message calls them.
        spec: What to write behind ``vlm-dense fetch``.
        remotes: Files or folders, any of which will do; best first.
        parts: What is needed beside them, such as a tokenizer.
    """

    title: str
    spec: str
    remotes: tuple[Remote, ...]
    parts: tuple[Remote, ...] = ()


def parse_wanted(wanted: str) -> Wanted | None:
    """Read one of the forms ``open_clip:NAME:TAG``, ``hf:REPO``, ``hf://OWNER/REPO/FILE``, ``REPO`` or a URL.

    Returns:
        None if it is none of them, so that it can only be a path.

    Raises:
        ConfigError: If it starts like one of them and goes on unlike it.
        MissingFileError: If open_clip has no such tag.
    """
    if wanted.startswith(OPEN_CLIP):
        name, _, tag = wanted.removeprefix(OPEN_CLIP).partition(':')
        return wanted_open_clip(name, tag)
    if wanted.startswith(URLS):
        return Wanted(f"'{wanted}'", wanted, (UrlFile(wanted),))
    if wanted.startswith(HUB_FILE):
        return _wanted_hub_file(wanted)
    is_marked = wanted.startswith(HUB_FOLDER)
    repo, revision = _split_revision(wanted.removeprefix(HUB_FOLDER))
    if not REPO.fullmatch(repo):
        if is_marked:
            raise ConfigError(f"'{wanted}' is not of the form hf:OWNER/REPO[@REVISION]. Write it like hf:roberta-base.")
        return None
    if not is_marked and (repo.startswith('.') or repo.endswith(FILE_SUFFIXES)):
        return None
    spec = HUB_FOLDER + wanted.removeprefix(HUB_FOLDER)
    return Wanted(f"the model '{repo}'", spec, (HubFolder(repo, revision),))


def wanted_open_clip(name: str, tag: str) -> Wanted:
    """The weights of one of open_clip's tags, and the tokenizer and text config that its architecture borrows.

    Raises:
        MissingFileError: If there is no such tag; the message lists the tags.
    """
    import open_clip

    settings = open_clip.get_pretrained_cfg(name, tag)
    if not settings:
        tags = ', '.join(open_clip.list_pretrained_tags_by_model(name)) or 'none'
        raise MissingFileError(
            f"'{tag}' is neither a file nor a tag of open_clip's '{name}'. Check the path; the tags are: {tags}."
        )
    remotes: list[Remote] = []
    if settings.get('hf_hub'):
        repo, _, filename = settings['hf_hub'].rpartition('/')
        remotes.extend(HubFile(repo, candidate) for candidate in _hub_filenames(filename))
    if settings.get('url'):
        remotes.append(UrlFile(settings['url'], URL_CACHE.expanduser()))
    text = (open_clip.get_model_config(name) or {}).get('text_cfg', {})
    borrowed = dict.fromkeys(text[key] for key in ('hf_model_name', 'hf_tokenizer_name') if text.get(key))
    parts = tuple(HubFolder(repo, with_weights=False) for repo in borrowed)
    title = f"the weights '{tag}' of open_clip's '{name}'"
    return Wanted(title, f'{OPEN_CLIP}{name}:{tag}', tuple(remotes), parts)


def _wanted_hub_file(wanted: str) -> Wanted:
    rest, revision = _split_revision(wanted.removeprefix(HUB_FILE))
    owner, _, rest = rest.partition('/')
    repo, _, filename = rest.partition('/')
    if not REPO.fullmatch(f'{owner}/{repo}') or not filename or '..' in filename.split('/'):
        raise ConfigError(f"'{wanted}' is not of the form hf://OWNER/REPO/FILE[@REVISION]. Name all three.")
    return Wanted(f"'{wanted}'", wanted, (HubFile(f'{owner}/{repo}', filename, revision),))


def _split_revision(text: str) -> tuple[str, str | None]:
    before, mark, revision = text.partition('@')
    return before, revision if mark and revision else None


def _hub_filenames(filename: str) -> list[str]:
    if not filename:
        return ['open_clip_model.safetensors', 'open_clip_pytorch_model.bin']
    stem, _, ending = filename.rpartition('.')
    return [f'{stem}.safetensors', filename] if ending in ('bin', 'pth', 'pt') else [filename]
