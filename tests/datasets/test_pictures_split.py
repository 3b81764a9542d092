"""Base and novel words, held-out photographs, the shipped list of stamps."""

import numpy as np
import pytest

from vlm_dense.datasets.pictures.cutouts import CutOut, PictureSource
from vlm_dense.datasets.pictures.debian import read_list
from vlm_dense.datasets.pictures.drawn import COLOURS, SHAPES, drawn_source
from vlm_dense.datasets.pictures.plan import plan_scenes
from vlm_dense.datasets.pictures.split import novel_words, split_backgrounds, split_source
from vlm_dense.datasets.pictures.teacher_names import known_words, normalise
from vlm_dense.errors import DataError

STAMP_WORDS = sorted({row['name'] for row in read_list('stamps.csv')})


def source_of(photos_per_word: dict[str, int]) -> PictureSource:
    blank = np.full((8, 8, 4), 255, np.uint8)
    cutouts = [CutOut(word, f'{word}-{row}', blank) for word, count in photos_per_word.items() for row in range(count)]
    backgrounds = {f'b{row}': blank[..., :3] for row in range(8)}
    return PictureSource('made up', 'a test', 'none', tuple(cutouts), backgrounds)


def test_shipped_list_is_the_clean_one():
    assert len(read_list('stamps.csv')) == 198
    assert len(STAMP_WORDS) == 161
    left_out = ('Woodlouse', 'Cherry_Stella', 'Strawberry2', 'Lightbulb', 'pelican', 'firetruck', 'pineapple', 'grapes')
    stems = {row['stamp'].rsplit('/')[-1].removesuffix('.png').lower() for row in read_list('stamps.csv')}
    assert not stems & {name.lower() for name in left_out}
    photos = [row['photo'] for row in read_list('backgrounds.csv')]
    assert len(photos) == len(set(photos)) == 17
    assert not {'sheep.jpg', 'jellyfish.jpg'} & set(photos)


def test_split_of_the_stamps_is_stratified_by_what_the_teacher_knows():
    known = known_words(STAMP_WORDS)
    assert 65 <= len(known) <= 75
    assert {'zebra', 'teapot', 'violin'} <= set(known)
    assert not {'giraffe', 'kangaroo', 'scissors', 'tomato'} & set(known)
    splits = [novel_words(STAMP_WORDS, known, np.random.default_rng(seed)) for seed in range(5)]
    for novel in splits:
        assert len(novel) == 53
        assert len(novel & set(known)) == len(known) // 3
    assert len({frozenset(novel) for novel in splits}) == 5
    assert novel_words(STAMP_WORDS, known, np.random.default_rng(0)) == splits[0]


def test_names_are_compared_without_case_and_hyphens():
    assert normalise('Killer-Whale') == normalise(' killer_whale ') == 'killer whale'


def test_last_photo_of_a_base_word_is_held_out_and_single_ones_are_shared():
    source = source_of({'one': 1, 'two': 2, 'three': 3, 'lone': 1, 'pair': 2, 'trio': 3})
    split = split_source(source, ['one', 'two', 'three'], seed=5)
    assert len(split.base) == 4
    assert len(split.novel) == 2
    for word, photos in split.photos['test'].items():
        every = [cutout.photo for cutout in source.by_word()[word]]
        trained = [cutout.photo for cutout in split.photos['train'].get(word, [])]
        shown = [cutout.photo for cutout in photos]
        if word in split.novel:
            assert (trained, shown) == ([], every)
        elif len(every) == 1:
            assert trained == shown == every
        else:
            assert (trained, shown) == (every[:-1], every[-1:])


def test_backgrounds_are_divided_without_rest():
    names = [f'b{row}' for row in range(17)]
    parts = split_backgrounds(names, np.random.default_rng(0))
    assert {part: len(chosen) for part, chosen in parts.items()} == {'train': 11, 'val': 2, 'test': 4}
    assert sorted(name for chosen in parts.values() for name in chosen) == sorted(names)


def test_every_word_appears_about_equally_often():
    split = split_source(source_of({f'w{row:02d}': 1 for row in range(30)}), [], seed=1)
    plans = plan_scenes(split, 'test', 100, seed=1)
    counts = {word: sum(word in plan.words for plan in plans) for word in split.words}
    for words in (split.base, split.novel):
        per_word = [counts[word] for word in words]
        assert min(per_word) > 0
        assert max(per_word) - min(per_word) <= 3
    assert all(len(set(plan.words)) == len(plan.words) for plan in plans)
    assert len({plan.seed for plan in plans}) == 100


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DataError, match='254'):
        split_source(source_of({f'w{row}': 1 for row in range(255)}), [], seed=0)
    with pytest.raises(DataError, match='at least 2'):
        novel_words(['only'], [], np.random.default_rng(0))
    with pytest.raises(DataError, match='backgrounds'):
        split_backgrounds(['a', 'b'], np.random.default_rng(0))


def test_drawn_cutouts_are_always_the_same_and_tell_shapes_and_colours_apart():
    first, second = drawn_source(), drawn_source.__wrapped__()
    assert len(first.words) == len(COLOURS) * len(SHAPES) == 96
    for one, other in zip(first.cutouts, second.cutouts, strict=True):
        assert (one.word, one.photo) == (other.word, other.photo)
        np.testing.assert_array_equal(one.rgba_HW4, other.rgba_HW4)
    assert all(np.array_equal(first.backgrounds[name], second.backgrounds[name]) for name in first.backgrounds)
    cutouts = {cutout.word: cutout.rgba_HW4.astype(float) for cutout in first.cutouts}
    filled = {shape: (cutouts[f'red {shape}'][..., 3] / 255).mean() for shape in SHAPES}
    assert filled['square'] > 0.95
    assert filled['circle'] == pytest.approx(np.pi / 4, abs=0.02)
    assert filled['diamond'] == pytest.approx(0.5, abs=0.03)
    assert filled['ring'] == pytest.approx(np.pi / 4 * (1 - (0.48 / 0.92) ** 2), abs=0.03)
    for word, rgba in cutouts.items():
        inside = rgba[rgba[..., 3] > 250][:, :3].mean(0)
        nearest = min(COLOURS, key=lambda colour: np.abs(inside - COLOURS[colour]).sum())
        assert word.startswith(nearest)
