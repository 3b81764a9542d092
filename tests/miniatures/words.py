"""Flickr30k Entities, RefCOCO and ODinW."""

import tarfile
from pathlib import Path

from miniatures.boxes import as_json, box, image
from miniatures.packing import photograph, write_files, write_tar, write_zip
from vlm_dense.datasets.odinw import odinw_sets

OBJECT = [{'supercategory': 'object', 'id': 1, 'name': 'object'}]
REFCOCO_PARTS = {
    'refcoco': ('val', 'testA', 'testB'),
    'refcoco+': ('val', 'testA', 'testB'),
    'refcocog': ('val', 'test'),
}


def write_flickr30k(archives_dir: Path) -> None:
    """Two pictures, and MDETR's files: a sentence with two phrases, their places in it, and their boxes."""
    names = ('1000092795.jpg', '10002456.jpg')
    write_tar(
        archives_dir / 'flickr30k-images.tar.gz',
        {f'flickr30k-images/{name}': photograph(seed) for seed, name in enumerate(names)},
    )
    caption = 'a dog chases a red ball'
    spans = [[[0, 5]], [[13, 23]]]
    files = {}
    for part in ('val', 'test'):
        images, annotations = [], []
        for number, name in enumerate(names, 1):
            more = {'caption': caption, 'tokens_positive_eval': spans, 'sentence_id': 0}
            entry = image(number, name, original_img_id=number, dataset_name='flickr', **more)
            # MDETR's script copies them from xml, as text.
            images.append({**entry, 'width': str(entry['width']), 'height': str(entry['height'])})
            for phrase, xywh in enumerate(((2, 2, 20, 20), (30, 5, 12, 12))):
                where = {'tokens_positive': spans[phrase], 'phrase_ids': phrase}
                annotations.append(box(len(annotations) + 1, number, 1, xywh, **where))
        document = {'images': images, 'annotations': annotations, 'categories': OBJECT}
        files[f'OpenSource/final_flickr_separateGT_{part}.json'] = as_json(document)
    add_mdetr(archives_dir, files)


def write_refcoco(archives_dir: Path) -> None:
    """Two pictures of train2014, and MDETR's files: one entry per expression, with one box."""
    names = ('COCO_train2014_000000000009.jpg', 'COCO_train2014_000000000025.jpg')
    pictures = {f'train2014/{name}': photograph(seed) for seed, name in enumerate(names)}
    write_zip(archives_dir / 'train2014.zip', pictures)
    files = {}
    for dataset, parts in REFCOCO_PARTS.items():
        for part in parts:
            images, annotations = [], []
            for number, (name, caption) in enumerate(zip(names, ('the left dog', 'woman in red'), strict=True)):
                more = {'caption': caption, 'original_id': number, 'dataset_name': dataset}
                images.append(image(number, name, **more))
                where = {'tokens_positive': [[0, len(caption)]], 'original_id': number}
                annotations.append(box(number, number, 1, (4, 5, 25 + number, 30), **where))
            document = {'images': images, 'annotations': annotations, 'categories': OBJECT}
            files[f'OpenSource/finetune_{dataset}_{part}.json'] = as_json(document)
    add_mdetr(archives_dir, files)


def add_mdetr(archives_dir: Path, files: dict[str, bytes]) -> None:
    """Both data sets share one archive, whose folder is OpenSource."""
    path = archives_dir / 'mdetr_annotations.tar.gz'
    if path.is_file():
        with tarfile.open(path) as tar:
            there = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isreg()}
        files = {**there, **files}
    write_tar(path, files)


def place_odinw(root: Path, suite: str) -> None:
    """One picture with one object for every data set of a suite."""
    for seed, row in enumerate(odinw_sets(suite)):
        categories = [{'id': number, 'name': name} for number, name in enumerate(row.classes, 1)]
        document = {
            'images': [image(1, 'one.jpg')],
            'annotations': [box(1, 1, 1, (3, 3, 20, 20))],
            'categories': categories,
        }
        write_files(root, {row.annotations: as_json(document), f'{row.pictures}one.jpg': photograph(seed)})
