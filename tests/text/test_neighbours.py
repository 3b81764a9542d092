import torch

from vlm_dense.text import neighbours
from vlm_dense.text.neighbours import near_duplicates, nearest


def test_nearest_leaves_the_word_itself_out() -> None:
    text_KD = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    found = nearest(text_KD, 0, 2)
    assert [row for row, _ in found] == [1, 2]
    assert abs(found[0][1] - 0.8) < 1e-6
    assert len(nearest(text_KD, 0, 10)) == 3


def test_pairs_are_the_same_in_blocks_of_any_size(monkeypatch) -> None:
    text_KD = torch.randn(37, 3)
    unit = torch.nn.functional.normalize(text_KD, dim=1)
    cosine = unit @ unit.T
    expected = {(i, j) for i in range(37) for j in range(i + 1, 37) if cosine[i, j] >= 0.9}
    assert expected
    for size in (1, 5, 1024):
        monkeypatch.setattr(neighbours, 'ROWS_AT_ONCE', size)
        found = near_duplicates(text_KD.half(), 0.9)
        assert {(i, j) for i, j, _ in near_duplicates(text_KD, 0.9)} == expected
        assert [value for *_, value in found] == sorted((value for *_, value in found), reverse=True)
