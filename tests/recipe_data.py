"""Made-up data for every recipe of configs/, in the layouts that they read."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
from miniatures import provide
from PIL import Image
from pycocotools import mask as coco_mask
from recipe_maps import write_ade20k_847_data, write_ade20k_data, write_coco_stuff_data, write_voc_data
from recipes import ROOT, SIDE, tiny_recipe
from shard_parts import write_shard
from tool_modules import tool_module

from vlm_dense.datasets.preparation import prepare
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary


def annotations(names: list[str], files: list[str], lvis: bool) -> dict:
    categories = [dict(id=3 * row + 1, name=name, frequency='frc'[row % 3]) for row, name in enumerate(names)]
    images = []
    boxes = []
    for number, file in enumerate(files, start=1):
        place = dict(coco_url=f'http://images.cocodataset.org/{file}') if lvis else dict(file_name=Path(file).name)
        images.append(dict(id=number, width=SIDE, height=SIDE, **place))
        # The first names are base in both vocabularies.
        for offset, category in ((8, categories[0]['id']), (40, categories[2]['id'])):
            corners = [offset, offset, offset + 40, offset, offset + 40, offset + 40, offset, offset + 40]
            boxes.append(
                dict(
                    id=len(boxes) + 1,
                    image_id=number,
                    category_id=category,
                    bbox=[offset, offset, 40, 40],
                    area=1600,
                    iscrowd=0,
                    segmentation=[corners],
                )
            )
    return dict(images=images, annotations=boxes, categories=categories)


def write_boxes_data(root: Path) -> None:
    """LVIS's and COCO's folders with two pictures each."""
    words = json.loads((ROOT / 'vlm_dense/datasets/vocabularies/ovcoco.json').read_text())['words']
    coco = [*words, *(word for word in Vocabulary.from_dataset('coco').words if word not in words)]
    generator = np.random.default_rng(0)
    for data, names, files in (
        ('lvis_v1', ['aerosol_can', 'abacus', 'air_conditioner'], ['lvis_v1_train.json', 'lvis_v1_val.json']),
        ('coco', coco, ['instances_train2017.json', 'instances_val2017.json', 'instances_val2017_all_2.json']),
    ):
        folder = root / 'data' / data
        (folder / 'annotations').mkdir(parents=True)
        for file in files:
            split = 'train2017' if 'train' in file else 'val2017'
            (folder / split).mkdir(exist_ok=True)
            pictures = [f'{split}/{number}.jpg' for number in range(2)]
            for picture in pictures:
                Image.fromarray(generator.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / picture)
            content = annotations(names, pictures, lvis=data == 'lvis_v1')
            (folder / 'annotations' / file).write_text(json.dumps(content))


def write_mask_nouns(root: Path) -> None:
    """Pairs as tools/mask_nouns.py writes them, on COCO's pictures of `write_boxes_data`."""
    for split in ('train2017', 'val2017'):
        lines = []
        for number, noun in enumerate(('dog', 'red kite')):
            mask_HW = np.zeros((SIDE, SIDE), np.uint8, order='F')
            mask_HW[8 + 20 * number : 60, 10:30] = 1
            mask_HW[70:90, 60:90] = 1  # in two parts: its box holds patches outside of it
            rle = coco_mask.encode(mask_HW)
            lines.append(
                dict(
                    filename=f'{number}.jpg',
                    height=SIDE,
                    width=SIDE,
                    noun=noun,
                    caption=f'a {noun}',
                    segmentation=dict(size=rle['size'], counts=rle['counts'].decode()),
                    score=0.3,
                )
            )
        path = root / 'data' / 'coco' / f'mask_nouns_{split}.jsonl'
        path.write_text('\n'.join(map(json.dumps, lines)))


def write_panoptic_data(root: Path) -> None:
    """COCO's panoptic annotations of two pictures in each part: two persons, one of them a crowd's, and two stuffs."""
    words = Vocabulary.from_dataset('coco_panoptic')
    categories = [dict(id=k + 1, name=word, isthing=int(words.is_thing[k])) for k, word in enumerate(words.words)]
    folder = root / 'data' / 'coco' / 'annotations'
    blocks = dict(zip([(300, 1), (70_000, 1), (5, 100), (90_001, 133)], np.ndindex(2, 2), strict=True))
    for split in ('train2017', 'val2017'):
        maps = folder / f'panoptic_{split}'
        maps.mkdir(parents=True)
        write_noise(folder.parent / split, np.random.default_rng(0))
        images, segments = [], []
        for number in range(2):
            ids_HW, found = np.zeros((SIDE, SIDE), np.int64), []
            for (key, category), (row, column) in blocks.items():
                left, top, side = 48 * column + 2, 48 * row + 2, 40
                ids_HW[top : top + side, left : left + side] = key
                place = dict(bbox=[left, top, side, side], area=side * side)
                found.append(dict(id=key, category_id=category, iscrowd=int(key == 70_000), **place))
            rgb_HW3 = np.stack([ids_HW >> shift & 255 for shift in (0, 8, 16)], axis=-1)
            Image.fromarray(rgb_HW3.astype(np.uint8)).save(maps / f'{number}.png')
            images.append(dict(id=number, file_name=f'{number}.jpg', height=SIDE, width=SIDE))
            segments.append(dict(image_id=number, file_name=f'{number}.png', segments_info=found))
        content = dict(images=images, annotations=segments, categories=categories)
        (folder / f'panoptic_{split}.json').write_text(json.dumps(content))


def write_region_bank(root: Path) -> None:
    """What `tools/precompute_regions.py` writes for the miniature of the recipe that reads a bank."""
    tool = tool_module('precompute_regions')
    config = tiny_recipe('vild_r50_lvis_bank.py', root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    proposals = {f'{number}.jpg': [[4, 4, 60, 50], [20, 30, 90, 90]] for number in range(2)}
    boxes = tool.picture_boxes(dataset, proposals, with_truth=True)
    (teacher,) = tool.teacher_configs(config)
    tool.fill(teacher, dataset, boxes, rank=0, world_size=1, device='cpu', save_every=200)


def write_phrasecut_data(root: Path) -> None:
    """PhraseCut's folder with two phrases in each part, their regions of another colour than the rest."""
    folder = root / 'data' / 'VGPhraseCut_v0'
    (folder / 'images').mkdir(parents=True)
    square = [[20, 20], [80, 20], [80, 80], [20, 80]]
    for part, first in (('train', 1), ('val', 3), ('test', 5)):
        tasks = []
        for number, phrase in ((first, 'wooden chair'), (first + 1, 'man on the left')):
            picture = np.full((SIDE, SIDE + 14, 3), 40 * number, np.uint8)
            picture[20:80, 20:80] = 255 - 40 * number
            Image.fromarray(picture).save(folder / 'images' / f'{number}.jpg')
            tasks.append(dict(image_id=number, phrase=phrase, Polygons=[[square]], instance_boxes=[[20, 20, 60, 60]]))
        (folder / f'refer_{part}.json').write_text(json.dumps(tasks))


def write_episodes_data(root: Path) -> None:
    """Folders of PASCAL-5i, COCO-20i and FSS-1000, prepared from miniatures of their archives."""
    for name in ('pascal5i', 'coco20i', 'fss1000'):
        archives = root / 'archives' / name
        provide(name, archives, root / 'data')
        report = prepare(name, root / 'data', archives=archives, train=True, partial=True)
        assert report.good, [str(defect) for defect in report.defects]


def write_noise(folder: Path, generator: np.random.Generator) -> None:
    """Two pictures, 0.jpg and 1.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        picture = generator.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(picture).save(folder / f'{number}.jpg')


def write_grounding_data(root: Path) -> None:
    """Folders of Objects365, of one's own boxes and of Flickr30k Entities, with two pictures in each part."""
    generator = np.random.default_rng(0)
    for data, names, files in (
        ('objects365v1', ['Person', 'Sneakers', 'Chair'], {'train': 'annotations/objects365_train.json'}),
        ('custom', ['fish', 'sting ray', 'puffin'], {'train': 'train.json', 'valid': 'valid.json'}),
        ('flickr30k_entities', [], {'flickr30k_images': ''}),
    ):
        folder = root / 'data' / data
        for part, file in files.items():
            write_noise(folder / part, generator)
            if file:
                (folder / file).parent.mkdir(exist_ok=True)
                content = annotations(names, [f'{number}.jpg' for number in range(2)], lvis=False)
                (folder / file).write_text(json.dumps(content))
    write_phrases(
        root / 'data' / 'flickr30k_entities', [f'final_flickr_separateGT_{p}' for p in ('train', 'val', 'test')]
    )
    write_odvg_data(root / 'data', generator)


def write_phrases(folder: Path, files: list[str]) -> None:
    """MDETR's files: a caption with two phrases for each of two pictures."""
    caption = 'A man feeds a small dog'
    places = ([0, 5], [12, 23])
    images, boxes = [], []
    for n in range(2):
        facts = dict(caption=caption, width=SIDE, height=SIDE, tokens_positive_eval=[[place] for place in places])
        images.append(dict(id=n, file_name=f'{n}.jpg', **facts))
        for k, place in enumerate(places):
            box = dict(bbox=[8 + 20 * k, 8, 40, 40], area=1600, iscrowd=0, category_id=1, tokens_positive=[place])
            boxes.append(dict(id=2 * n + k, image_id=n, **box))
    content = dict(images=images, annotations=boxes, categories=[dict(id=1, name='object')])
    for file in files:
        (folder / f'{file}.json').write_text(json.dumps(content))


def write_odvg_data(data: Path, generator: np.random.Generator) -> None:
    """What GLIP is pre-trained on beside Objects365: GoldG, other detection sets, labelled captions in shards."""
    sets = ['gqa', 'openimages', 'visual_genome', 'imagenet_boxes', 'cap4m', 'cap24m']
    for name in sets:
        write_noise(data / name / 'images', generator)
    write_phrases(data / 'gqa', ['final_mixed_train_no_coco'])
    to_odvg = tool_module('data/goldg_to_odvg')
    for place in ('gqa/final_mixed_train_no_coco', 'flickr30k_entities/final_flickr_separateGT_train'):
        to_odvg.main([str(data / f'{place}.json'), '--out', str(data / f'{place}.jsonl')])
    for name in sets[1:4]:
        instances = [dict(bbox=[8, 8, 48, 48], label=0), dict(bbox=[40, 40, 80, 80], label=2)]
        found = (
            dict(instances=instances, absent=['traffic light']) if name == 'openimages' else dict(instances=instances)
        )
        lines = [dict(filename=f'{n}.jpg', height=SIDE, width=SIDE, detection=found) for n in range(2)]
        (data / name / 'train.jsonl').write_text('\n'.join(map(json.dumps, lines)))
        (data / name / 'label_map.json').write_text(json.dumps({'0': 'cat', '1': 'traffic light', '2': 'Dog'}))
    for name in sets[4:]:
        write_labelled_shard(data / name)


def write_labelled_shard(folder: Path) -> None:
    """Two pictures in a tar file, named by their places in it."""
    with tarfile.open(folder / '0.tar', 'w') as archive:
        for number in range(2):
            archive.add(folder / 'images' / f'{number}.jpg', arcname=f'{number}.jpg')
    with tarfile.open(folder / '0.tar', 'r:') as archive:
        names = [f'0.tar#{member.offset_data}+{member.size}' for member in archive]
    caption = 'two small dogs near a bench'
    regions = [
        dict(bbox=[8.5, 8, 48, 48.25], phrase='two small dogs', tokens_positive=[[0, 14]], score=0.7),
        dict(bbox=[40, 40, 80, 80], phrase='bench', tokens_positive=[[22, 27]], score=0.6),
    ]
    grounding = dict(caption=caption, regions=regions)
    lines = [dict(filename=name, height=SIDE, width=SIDE, grounding=grounding) for name in names]
    (folder / 'pseudo.jsonl').write_text('\n'.join(map(json.dumps, lines)))


def write_caption_shards(root: Path) -> None:
    """CC3M's folder with two shards of one picture, and a pool of words."""
    folder = root / 'data' / 'cc3m'
    folder.mkdir(parents=True)
    (folder / 'concepts.json').write_text(json.dumps(dict(words=['dog', 'red kite', 'beach', 'tin can'])))
    random = np.random.default_rng(0)
    for number in range(2):
        buffer = io.BytesIO()
        # Noise alone looks the same to a tower that knows nothing: captions could not be told apart.
        picture = random.integers(0, 100, (SIDE, SIDE, 3)) + [0, 0, 150][:: 1 - 2 * number]
        Image.fromarray(picture.astype(np.uint8)).save(buffer, 'PNG')
        caption = f'dog {number} on a beach'.encode()
        members = [(f'{number:09d}.png', buffer.getvalue()), (f'{number:09d}.txt', caption)]
        write_shard(folder / f'{number:05d}.tar', members)


def write_word_regions(root: Path) -> None:
    """What tools/word_regions.py writes for the miniature of COCO-Stuff."""
    config = tiny_recipe('zsseg_r101c_cocostuff.py', root)
    for part in ('train', 'val'):
        dataset = DATASETS.build(config[f'{part}_dataloader'].dataset)
        path = root / 'data' / 'coco_stuff164k' / f'word_regions_{part}2017.jsonl'
        tool_module('word_regions').write_regions(dataset, path, each=1, seed=0)


def write_data(root: Path, pictures_root: Path) -> None:
    """Data for every recipe of configs/."""
    write_boxes_data(root)
    write_mask_nouns(root)
    write_panoptic_data(root)
    write_grounding_data(root)
    write_region_bank(root)
    write_ade20k_data(root)
    write_ade20k_847_data(root)
    write_phrasecut_data(root)
    write_coco_stuff_data(root)
    write_episodes_data(root)
    write_word_regions(root)
    write_voc_data(root)
    write_caption_shards(root)
    shutil.copytree(pictures_root / 'data' / 'pictures', root / 'data' / 'pictures')
