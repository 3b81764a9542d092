"""Small requests and a make-believe apt for the tests of the built-in pictures."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_dense.datasets.pictures import PictureRequest
from vlm_dense.datasets.pictures.debian import PACKAGES, SHARE, wanted_files

SMALL = PictureRequest(source='drawn', seed=3, train=6, val=4, test=10, size=96)

LISTING = f"""case "$*" in *--print-uris*)
  echo "'http://debian.test/a.deb' {PACKAGES[0]}_1_all.deb 1000 SHA256:0"
  echo "'http://debian.test/b.deb' {PACKAGES[1]}_1_all.deb 500 SHA256:0"
  exit 0;; esac
"""
GOOD_APT = LISTING + 'cp "$REPOSITORY"/*.deb .'
KILLED_APT = LISTING + f'head -c 700 "$REPOSITORY/{PACKAGES[0]}_1_all.deb" > {PACKAGES[0]}_1_all.deb; kill -9 $PPID'
GOOD_DPKG = 'cat "$2"'
KILLED_DPKG = 'head -c 40960 "$2"; sleep 0.2; kill -9 $PPID'


class FakeDebian:
    """Programs ``apt-get`` and ``dpkg-deb`` on the PATH that serve tiny packages (plain tar archives) from a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs, self.repository = root / 'bin', root / 'repository'
        self.programs.mkdir()
        self.repository.mkdir()
        monkeypatch.setenv('PATH', f'{self.programs}:/usr/bin:/bin')
        monkeypatch.setenv('REPOSITORY', str(self.repository))
        self.publish()
        self.program('apt-get', GOOD_APT)
        self.program('dpkg-deb', GOOD_DPKG)

    def program(self, name: str, script: str) -> None:
        """Install a shell script under a program's name."""
        path = self.programs / name
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)

    def publish(self, leave_out: tuple[str, ...] = ()) -> None:
        """Fill both packages with a small picture for every listed photograph, but for some."""
        for package in PACKAGES:
            with tarfile.open(self.repository / f'{package}_1_all.deb', 'w') as archive:
                _add(archive, f'./usr/share/doc/{package}/copyright', b'GPL-2')
                _add(archive, '../../escaped.txt', b'outside')
                for name in wanted_files():
                    belongs = name.startswith('stamps/') == (package == PACKAGES[0])
                    if belongs and name not in leave_out:
                        _add(archive, f'./{SHARE}{name}', picture_bytes(name))


def picture_bytes(name: str) -> bytes:
    """A 12 x 10 picture: opaque inside, clear at the rim for stamps; a plain JPEG for backgrounds."""
    colour = np.frombuffer(name.encode().ljust(3)[-7:-4], np.uint8)
    rgba = np.zeros((10, 12, 4), np.uint8)
    rgba[2:8, 3:9] = [*colour, 255]
    picture = Image.fromarray(rgba)
    buffer = io.BytesIO()
    if name.endswith('.jpg'):
        picture.convert('RGB').save(buffer, 'JPEG')
    else:
        picture.save(buffer, 'PNG')
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
