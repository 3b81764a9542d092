"""Weights behind a URL: found again by name and checksum, fetched whole or not at all."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlparse
from urllib.request import Request, urlopen
from uuid import uuid4

from mmengine.logging import print_log

from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.checkpoints.remotes import URL_CACHE, Place, hub_checkpoints
from vlm_dense.errors import MissingFileError

# At these hosts the file's stem ends in the first digits of its SHA-256.
HOSTS_WITH_SHORT_CHECKSUM = ('mlfoundations', 'download.pytorch.org')
SHORT_CHECKSUM = re.compile(r'-([0-9a-f]{8,64})$')
WHOLE_CHECKSUM = re.compile(r'/([0-9a-f]{64})/')
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 1 << 20


@dataclass(frozen=True)
class UrlFile:
    """A file behind an http(s) URL.

    Attributes:
        url: Its address.
        home: Folder to keep it in; the checkpoints of torch's hub by default.
    """

    url: str
    home: Path | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(unquote(urlparse(self.url).path)).name

    @property
    def checksum(self) -> str:
        """First digits of the SHA-256, as far as the URL holds them: OpenAI's has a folder of 64 hex digits."""
        whole = WHOLE_CHECKSUM.search(self.url)
        if whole:
            return whole.group(1)
        short = SHORT_CHECKSUM.search(Path(self.name).stem)
        return short.group(1) if short and any(host in self.url for host in HOSTS_WITH_SHORT_CHECKSUM) else ''

    def under(self, folder: Path) -> Iterator[Place]:
        """The file's own name in the folder."""
        yield self._place(folder / self.name)

    def cached(self) -> Iterator[Place]:
        """open_clip's cache and that of torch's hub."""
        homes = (self._home(), URL_CACHE.expanduser(), hub_checkpoints())
        yield from (self._place(home / self.name) for home in dict.fromkeys(homes))

    def fetch(self, to: Path | None) -> Path:
        """Download the file; it gets its name only when all of it has arrived.

        Raises:
            MissingFileError: If it does not arrive, or has another checksum than its URL says.
        """
        path = (to or self._home()) / self.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._download(path)
        except (OSError, HTTPException, ValueError) as error:
            raise MissingFileError(
                f"cannot fetch '{self.url}': {error}. Download it elsewhere and put it at '{path}', or give its path."
            ) from error
        return path

    def _home(self) -> Path:
        return self.home or hub_checkpoints()

    def _place(self, path: Path) -> Place:
        if not path.is_file():
            return Place(f"'{path}'")
        if not file_sha256(path).startswith(self.checksum):
            return Place(f"'{path}'", problem='damaged: its checksum is wrong')
        return Place(f"'{path}'", path)

    def _download(self, path: Path) -> None:
        with urlopen(Request(self.url, headers={'User-Agent': 'vlm-dense'}), timeout=TIMEOUT) as answer:
            length = answer.headers.get('Content-Length')
            size = f'{int(length) / 1e6:.1f} MB' if length else 'size unknown'
            print_log(f"fetching '{self.url}' ({size}) to '{path}'", logger='current', level=logging.INFO)
            half = path.with_name(f'.{path.name}.{uuid4().hex}.part')
            try:
                with open(half, 'xb') as file:
                    digest = _copy(answer, file)
                    received = file.tell()
                _check_whole(self, received, None if length is None else int(length), answer.chunked, digest)
                half.replace(path)
            finally:
                half.unlink(missing_ok=True)


def _copy(answer: HTTPResponse, file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := answer.read(BLOCK):
        file.write(block)
        digest.update(block)
    return digest.hexdigest()


def _check_whole(remote: UrlFile, received: int, length: int | None, is_chunked: bool, digest: str) -> None:
    """A connection that breaks off ends like a file: only its length, its chunks or its checksum tell."""
    if length is not None and received != length:
        raise OSError(f'the connection broke off after {received} of {length} bytes')
    if not digest.startswith(remote.checksum):
        raise OSError(f'its SHA-256 starts with {digest[: len(remote.checksum)]}, not with {remote.checksum}')
    if length is None and not is_chunked and not remote.checksum:
        raise OSError('the server does not say how long the file is, so a half file would not be noticed')
