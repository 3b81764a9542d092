import os
from pathlib import Path

import pytest
import torch

from vlm_dense.errors import StorageError
from vlm_dense.text.row_store import PART, RowStore, bank_files, evict, row_key, stack_keys


def store_with(tmp_path: Path, words: str, limit: int | None = None) -> tuple[RowStore, torch.Tensor, torch.Tensor]:
    store = RowStore(tmp_path, 'space', limit)
    row_keys = stack_keys([row_key([word]) for word in words])
    return store, row_keys, torch.stack([torch.full((4,), float(ord(word))) for word in words])


def test_keys_see_where_texts_end() -> None:
    assert len({row_key(texts) for texts in (['ab'], ['a', 'b'], ['b', 'a'], ['a', 'b', ''], ['ab', ''], [])}) == 6
    assert len(row_key(['x'])) == 16


def test_a_bank_is_found_by_its_rows_in_their_order(tmp_path: Path) -> None:
    store, row_keys, text_KD = store_with(tmp_path, 'abc')
    assert store.bank(row_keys) is None
    store.save_bank(row_keys, text_KD, {})
    assert torch.equal(store.bank(row_keys), text_KD)
    assert store.bank(row_keys[[1, 0, 2]]) is None
    assert RowStore(tmp_path, 'another space').bank(row_keys) is None


def test_rows_are_found_in_any_bank(tmp_path: Path) -> None:
    store, row_keys, text_KD = store_with(tmp_path, 'abcde')
    store.save_bank(row_keys[:2], text_KD[:2], {})
    store.save_bank(row_keys[3:4], text_KD[3:4], {})
    found = store.known_rows(row_keys)
    assert {key: row[0].item() for key, row in found.items()} == {row_key([word]): float(ord(word)) for word in 'abd'}


def test_rows_of_a_damaged_bank_are_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, row_keys, text_KD = store_with(tmp_path, 'ab')
    store.save_bank(row_keys, text_KD, {})
    path = store.bank_file(row_keys)
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert store.known_rows(row_keys) == {}
    assert 'made again' in caplog.text


def test_parts_go_when_their_rows_are_in_a_bank(tmp_path: Path) -> None:
    store, row_keys, text_KD = store_with(tmp_path, 'abcd')
    store.save_part(row_keys[:2], text_KD[:2], {})
    store.save_part(row_keys[3:], text_KD[3:], {})
    assert len(store.known_rows(row_keys)) == 3
    store.save_bank(row_keys[:3], text_KD[:3], {})
    assert len(list(store.folder.glob(f'{PART}*'))) == 1
    store.save_bank(row_keys, text_KD, {})
    assert not list(store.folder.glob(f'{PART}*'))


def test_what_was_not_read_for_longest_is_evicted(tmp_path: Path) -> None:
    store, row_keys, text_KD = store_with(tmp_path, 'abc')
    for row in range(3):
        store.save_bank(row_keys[row : row + 1], text_KD[row : row + 1], {})
        os.utime(store.bank_file(row_keys[row : row + 1]), (row, row))
    assert store.bank(row_keys[:1]) is not None  # reading makes the first the youngest
    size = store.bank_file(row_keys[:1]).stat().st_size
    evict(tmp_path, 2 * size)
    assert [store.bank(row_keys[row : row + 1]) is not None for row in range(3)] == [True, False, True]
    assert evict(tmp_path, 2 * size) == []


def test_a_new_bank_stays_though_it_alone_is_too_large(tmp_path: Path) -> None:
    store, row_keys, text_KD = store_with(tmp_path, 'ab', limit=10)
    store.save_bank(row_keys[:1], text_KD[:1], {})
    store.save_bank(row_keys, text_KD, {})
    assert bank_files(tmp_path) == [store.bank_file(row_keys)]


def test_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / 'space').write_text('')
    with pytest.raises(StorageError, match=r'cannot be cached.*cache_dir'), RowStore(tmp_path, 'space').locked():
        pass
