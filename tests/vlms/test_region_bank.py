"""The bank of region embeddings on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vlm_dense.errors import DataError, MissingFileError, StorageError
from vlm_dense.vlms import RegionBank
from vlm_dense.vlms.region_bank import TOLERANCE

BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.25, 3.1, 60.7, 44.9], [7.0, 8.0, 9.0, 30.0]])


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f'{number}.jpg' for number in range(3)]
    for path in paths:
        path.write_bytes(b'content of ' + path.name.encode())
    return [str(path) for path in paths]


@pytest.fixture
def folder(tmp_path: Path, pictures: list[str]) -> Path:
    """A file with two pictures, and another one with a further box of the first picture."""
    bank = RegionBank(tmp_path / 'bank', 'tower A')
    bank.add([(pictures[0], BOXES[:2], rows(0, 2)), (pictures[1], BOXES[:1], rows(2, 1))])
    bank.add([(pictures[0], BOXES[2:], rows(3, 1))])
    return tmp_path / 'bank'


def rows(first: int, count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(9, 8)).astype('f4'))[first : first + count]


def test_boxes_are_found_bit_equal_in_any_order(folder: Path, pictures: list[str]) -> None:
    bank = RegionBank(folder, 'tower A')
    assert torch.equal(bank.lookup(pictures[0], BOXES[[2, 0, 1]]), torch.cat([rows(3, 1), rows(0, 2)]))
    assert torch.equal(bank.lookup(pictures[1], BOXES[:1]), rows(2, 1))
    assert bank.lookup(pictures[0], BOXES[:0]).shape[0] == 0
    assert sorted(bank.regions(pictures[0]).boxes_M4.tolist()) == sorted(BOXES.tolist())


def test_content_counts_and_not_the_path(folder: Path, pictures: list[str], tmp_path: Path) -> None:
    moved = tmp_path / 'elsewhere.jpg'
    Path(pictures[0]).rename(moved)
    bank = RegionBank(folder, 'tower A')
    assert torch.equal(bank.lookup(str(moved), BOXES[:2]), rows(0, 2))
    moved.write_bytes(b'edited')
    with pytest.raises(DataError, match=r'elsewhere\.jpg'):
        RegionBank(folder, 'tower A').lookup(str(moved), BOXES[:1])
    with pytest.raises(MissingFileError, match=r'0\.jpg'):
        bank.lookup(pictures[0], BOXES)


@pytest.mark.parametrize(('off', 'found'), [(0.9, True), (1.1, False)])
def test_a_box_may_be_off_by_the_tolerance(folder: Path, pictures: list[str], off: float, found: bool) -> None:
    moved = BOXES.clone()
    moved[1, 3] += off * TOLERANCE
    assert RegionBank(folder, 'tower A').has(pictures[0], moved).tolist() == [True, found, True]


def test_a_missing_region_names_picture_box_and_command(folder: Path, pictures: list[str]) -> None:
    bank = RegionBank(folder, 'tower A')
    with pytest.raises(DataError, match=r'\[5\.25, 3\.1, 60\.7, 44\.9\].*1\.jpg.*precompute_regions\.py') as caught:
        bank.lookup(pictures[1], BOXES)
    assert str(folder) in str(caught.value)
    region_nD, found_N = bank.find(pictures[1], BOXES)
    assert found_N.tolist() == [True, False, False]
    assert torch.equal(region_nD, rows(2, 1))
    assert bank.find(pictures[2], BOXES)[1].tolist() == [False] * 3


def test_another_teacher_has_another_bank(folder: Path, pictures: list[str]) -> None:
    with pytest.raises(MissingFileError, match=r'no bank of this teacher.*precompute_regions\.py'):
        RegionBank(folder, 'tower B').lookup(pictures[0], BOXES[:1])
    assert not RegionBank(folder, 'tower B').has(pictures[0], BOXES).any()


@pytest.mark.parametrize('damage', ['cut', 'flip an embedding', 'flip a box', 'flip a key', 'empty'])
def test_a_damaged_file_is_named_and_removed(
    folder: Path, pictures: list[str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = next(path for path in folder.rglob('*.safetensors') if len(load_file(path)['ends_P']) == 2)
    content = bytearray(path.read_bytes())
    if damage in ('cut', 'empty'):
        content = content[: -5 if damage == 'cut' else 0]
    else:
        name = {'an embedding': 'region_RD', 'a box': 'boxes_R4', 'a key': 'picture_keys'}[damage.removeprefix('flip ')]
        header = 8 + int.from_bytes(content[:8], 'little')
        first = json.loads(content[8:header])[name]['data_offsets'][0]
        # The second key, so that the first picture still leads to this file.
        content[header + first + (17 if name == 'picture_keys' else 1)] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match='is damaged') as caught:
        RegionBank(folder, 'tower A').lookup(pictures[0], BOXES)
    assert str(path) in str(caught.value)
    bank = RegionBank(folder, 'tower A')
    assert bank.remove_damaged() == [path]
    assert str(path) in caplog.text
    assert bank.has(pictures[0], BOXES).tolist() == [False, False, True]
    assert RegionBank(folder, 'tower A').remove_damaged() == []


def test_files_are_mapped(folder: Path, pictures: list[str]) -> None:
    bank = RegionBank(folder, 'tower A')
    bank.lookup(pictures[1], BOXES[:1])
    maps = Path('/proc/self/maps')
    if maps.is_file():
        assert all(str(path) in maps.read_text() for path in folder.rglob('*.safetensors'))


def test_a_folder_that_cannot_be_written(tmp_path: Path, pictures: list[str]) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='choose another folder'):
        RegionBank(tmp_path / 'file', 'tower A').add([(pictures[0], BOXES, rows(0, 3))])
