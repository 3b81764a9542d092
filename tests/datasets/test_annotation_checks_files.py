"""Picture files, label maps, panoptic maps, ODVG lines and PhraseCut tasks: each planted defect is found and named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import HEIGHT, WIDTH, WORDS, clean_coco, put_junk

from vlm_dense.datasets.annotation_checks import CheckOptions, Defects, check_annotations
from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_words(WORDS)


def counts(found: Defects) -> dict[str, int]:
    return {kind: len(defects) for kind, defects in found.by_kind().items()}


def told(found: Defects, kind: str) -> str:
    return '; '.join(map(str, found.by_kind()[kind]))


def check_json(path: Path, content: object, **options: object) -> Defects:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return check_annotations(path, CheckOptions(**options))


def save(path: Path, seed: int, width: int = WIDTH, height: int = HEIGHT, **arguments: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **arguments)


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_picture_files(tmp_path: Path) -> None:
    folder = tmp_path / 'pictures'
    for number in range(8):
        save(folder / f'{number}.png', number)
    content = clean_coco(8)
    assert counts(check_json(tmp_path / 'a.json', content, pictures=folder)) == {}

    (folder / '0.png').unlink()
    damage(folder / '1.png')
    (folder / '2.png').write_text('no picture')
    save(folder / '3.png', 3, width=WIDTH + 2)
    (folder / '5.png').write_bytes((folder / '4.png').read_bytes())
    (folder / '6.png').write_bytes((folder / '4.png').read_bytes())
    found = check_json(tmp_path / 'a.json', content, pictures=folder)
    assert counts(found) == {
        'missing-picture': 1,
        'unreadable-picture': 2,
        'picture-size-differs': 1,
        'same-content': 2,
    }
    assert told(found, 'missing-picture').startswith('0.png')
    assert told(found, 'picture-size-differs') == '3.png: the file has 62 x 40 pixels, the annotations say 60 x 40'
    assert told(found, 'same-content') == '5.png: has the same bytes as 4.png; 6.png: has the same bytes as 4.png'


def test_a_picture_that_exif_turns_has_the_turned_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(2):
        save(tmp_path / 'pictures' / f'{number}.png', number, width=HEIGHT, height=WIDTH, exif=exif)
    assert counts(check_json(tmp_path / 'a.json', clean_coco(2), pictures=tmp_path / 'pictures')) == {}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Eight pictures with label maps of five words, the last ones in 16 bits."""
    random = np.random.default_rng(0)
    for number in range(8):
        save(tmp_path / 'images' / 'city' / f'{number}.jpg', number)
        values = random.integers(0, len(WORDS), (HEIGHT, WIDTH))
        wide = number >= 6
        values[0, :7] = 65535 if wide else 255
        save_map(tmp_path / 'maps' / 'city' / f'{number}_map.png', values, wide)
    return tmp_path / 'maps', tmp_path / 'images'


def save_map(path: Path, values_HW: np.ndarray, wide: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values_HW.astype(np.uint16 if wide else np.uint8)).save(path)


def check_maps(folders: tuple[Path, Path], **options: object) -> Defects:
    settings: dict = dict(vocabulary=VOCABULARY, pictures=folders[1], map_suffix='_map.png')
    return check_annotations(folders[0], CheckOptions(**(settings | options)))


def test_label_maps(folders: tuple[Path, Path]) -> None:
    maps, images = folders[0] / 'city', folders[1] / 'city'
    assert counts(check_maps(folders)) == {}
    assert check_maps(folders).counted == {'pictures': 8, 'label maps': 8}

    plain = np.zeros((HEIGHT, WIDTH))
    wrong = plain.copy()
    wrong[3, :4], wrong[4, :9] = 5, 77
    save_map(maps / '0_map.png', wrong)
    save_map(maps / '1_map.png', plain[:-1])
    damage(maps / '2_map.png')
    save(maps / '3_map.png', 0)
    (maps / '4_map.png').unlink()
    (images / '5.jpg').unlink()
    damage(images / '6.jpg')
    save_map(maps / '7_map.png', np.where(wrong == 5, 300, 0), wide=True)
    found = check_maps(folders)
    assert counts(found) == {
        'missing-picture': 1,
        'unreadable-picture': 1,
        'missing-map': 1,
        'unreadable-map': 1,
        'map-channels': 1,
        'map-size-differs': 1,
        'value-without-word': 3,
    }
    assert told(found, 'value-without-word') == (
        'city/0_map.png: value 5 (4 pixels) is no word; city/0_map.png: value 77 (9 pixels) is no word; '
        'city/7_map.png: value 300 (4 pixels) is no word'
    )


def test_values_follow_the_options(tmp_path: Path) -> None:
    values = np.tile(np.array([0, 1, 5, 200]), (4, 1))
    save_map(tmp_path / 'maps' / 'a.png', values)

    def wrong(**options: object) -> int:
        found = check_annotations(tmp_path / 'maps', CheckOptions(vocabulary=VOCABULARY, **options))
        return counts(found).get('value-without-word', 0)

    assert wrong() == 2
    assert wrong(first_label=1) == 1
    assert wrong(background_label=5) == 1
    assert wrong(first_label=1, ignore=200) == 0
    assert counts(check_annotations(tmp_path / 'maps')) == {}


def test_value_255_is_a_word_of_many(tmp_path: Path) -> None:
    values = np.tile(np.array([0, 255, 846, 847, 65535]), (4, 1))
    save_map(tmp_path / 'a.tif', values, wide=True)
    many = Vocabulary.from_words([f'word {n}' for n in range(847)])
    found = check_annotations(tmp_path, CheckOptions(vocabulary=many, map_suffix='.tif'))
    assert told(found, 'value-without-word') == 'a.tif: value 847 (4 pixels) is no word'


def test_only_what_is_listed_is_looked_at(folders: tuple[Path, Path], tmp_path: Path) -> None:
    damage(folders[0] / 'city' / '0_map.png')
    listing = tmp_path / 'val.txt'
    listing.write_text('city/1\ncity/2\ncity/1\n\ncity/9\n')
    found = check_maps(folders, listing=listing)
    assert counts(found) == {'duplicate-picture': 1, 'missing-picture': 1, 'missing-map': 1}
    with pytest.raises(MissingFileError, match='listing'):
        check_maps(folders, listing=tmp_path / 'gone.txt')
    with pytest.raises(DataError, match='--map-suffix'):
        check_maps(folders, map_suffix='.bmp')


def test_panoptic_maps(tmp_path: Path) -> None:
    content: dict = dict(clean_coco(4), annotations=[])
    for image in content['images']:
        ids = (260, 70000)
        colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        colours[:20] = (4, 1, 0)
        colours[20:30] = (112, 17, 1)
        (tmp_path / 'maps').mkdir(exist_ok=True)
        Image.fromarray(colours).save(tmp_path / 'maps' / image['file_name'])
        segments = [dict(id=i, category_id=11, bbox=[0, 0, 60, 20], area=1, iscrowd=0) for i in ids]
        record = dict(image_id=image['id'], file_name=image['file_name'], segments_info=segments)
        content['annotations'].append(record)
    maps = tmp_path / 'maps'
    found = check_json(tmp_path / 'a.json', content, maps=maps)
    assert counts(found) == {}
    assert found.counted['segments'] == 8

    first, second, third, fourth = content['annotations']
    first['segments_info'][0] |= dict(id=7, category_id=12)
    second['segments_info'][1]['id'] = 260
    third |= dict(image_id=5)
    fourth['segments_info'][0]['bbox'] = [0, 0, 0, 0]
    damage(maps / '2.png')
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(maps / '3.png')
    found = check_json(tmp_path / 'a.json', content, maps=maps)
    assert counts(found) == {
        'duplicate-segment-id': 1,
        'unknown-image': 1,
        'unknown-category': 1,
        'box-without-area': 1,
        'unreadable-map': 1,
        'map-channels': 1,
        'segment-not-listed': 2,
        'segment-not-in-map': 1,
    }


def odvg_lines() -> list[dict]:
    cat = dict(bbox=[5, 5, 25, 25], label=0, category='cat')
    dog = dict(bbox=[5, 5, 25, 25.5], label=1, category='dog')
    place = dict(width=WIDTH, height=HEIGHT)
    caption = 'A dog beside two cats.'
    region = dict(bbox=[[5, 5, 25, 25], [25, 5, 40, 25]], phrase='two cats', tokens_positive=[[13, 21]])
    return [
        dict(filename='0.png', **place, detection=dict(instances=[cat, dog])),
        dict(filename='1.png', **place, detection=dict(instances=[dict(dog)])),
        dict(filename='2.png', **place, grounding=dict(caption=caption, regions=[region])),
        dict(filename='2.png', **place, grounding=dict(caption='a dog', regions=[])),
    ]


def as_lines(entries: list[dict]) -> str:
    return '\n'.join(map(json.dumps, entries)) + '\n'


@pytest.mark.parametrize('ending', ['json', 'jsonl'])
def test_odvg_lines(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f'a.{ending}'
    lines = odvg_lines()
    found = check_json(path, as_lines(lines), vocabulary=VOCABULARY)
    assert (counts(found), found.format, found.counted['lines']) == ({}, 'ODVG lines', 4)

    instances = lines[0]['detection']['instances']
    instances[0] |= dict(category='wombatt')
    instances[1] |= dict(label=0)
    lines[1]['detection']['instances'][0]['bbox'] = [5, 5, 5, 25]
    regions = lines[2]['grounding']['regions']
    regions.append(dict(regions[0], tokens_positive=[[13, 40]]))
    regions.append(dict(bbox=[5, 5, 90, 25], phrase='a dog'))
    lines += [dict(lines[1], filename='1.png', detection=dict(instances=[])), dict(filename='3.png')]
    found = check_json(path, as_lines(lines) + '{"filename"\n', vocabulary=VOCABULARY)
    assert counts(found) == {
        'no-record': 1,
        'missing-field': 3,  # width, height, objects
        'name-not-in-vocabulary': 1,
        'label-not-of-name': 2,  # of the line itself, and of the next one with the same name
        'phrase-not-in-caption': 1,
        'box-without-area': 1,
        'box-outside-picture': 1,
        'duplicate-picture': 1,
    }


def test_phrase_cut(tmp_path: Path) -> None:
    square = [[5, 5], [25, 5], [25, 25], [5, 25]]
    tasks = [
        dict(image_id=n, phrase=phrase, Polygons=[[square]], instance_boxes=[[5, 5, 20, 20]])
        for n, phrase in ((1, 'wooden chair'), (1, 'tall man'), (2, 'tall man'), (3, 'cat'), (4, 'dog'))
    ]
    for number in range(1, 5):
        save(tmp_path / 'images' / f'{number}.jpg', number)
    pictures = tmp_path / 'images'
    found = check_json(tmp_path / 'refer.json', tasks, pictures=pictures)
    assert (counts(found), found.format) == ({}, 'PhraseCut json')

    tasks[0]['Polygons'] = [[square[:2]]]
    tasks[1]['phrase'] = ''
    tasks[2]['Polygons'] = [[[5, 5, 25, 5]]]
    tasks[3]['instance_boxes'] = [[5, 5, 60, 20], [5, 5, 0, 20]]
    tasks.append(dict(tasks[4]))
    (pictures / '2.jpg').unlink()
    wrong = {
        'name-not-text': 1,
        'box-without-area': 1,
        'mask-unreadable': 1,
        'empty-mask': 1,
        'duplicate-picture': 1,
    }
    assert counts(check_json(tmp_path / 'refer.json', tasks)) == wrong
    found = check_json(tmp_path / 'refer.json', tasks, pictures=pictures)
    assert counts(found) == wrong | {'missing-picture': 1, 'box-outside-picture': 1}
    tasks = [dict(tasks[4], task_id=name) for name in ('4__0', '4__1', '4__1')]
    assert counts(check_json(tmp_path / 'refer.json', tasks)) == {'duplicate-picture': 1}


@pytest.mark.parametrize('seed', range(40))
def test_junk_in_lines_and_tasks_is_no_crash(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    lines = odvg_lines()
    square = [[5, 5], [25, 5], [25, 25], [5, 25]]
    tasks = [dict(image_id=n, phrase='cat', Polygons=[[square]], instance_boxes=[[5, 5, 20, 20]]) for n in range(4)]
    for entry in (*lines[1:], *tasks[1:]):
        put_junk(entry, generator)
        put_junk(entry, generator)
    assert len(check_json(tmp_path / 'a.jsonl', as_lines(lines), vocabulary=VOCABULARY)) > 0
    assert len(check_json(tmp_path / 'b.json', tasks)) > 0
