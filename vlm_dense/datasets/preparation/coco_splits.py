"""Parts of COCO's annotation files: by split of the words (OV-COCO, 65/15), and LVIS minival."""

import json
from collections.abc import Callable, Collection
from pathlib import Path

from vlm_dense.datasets.detection import place_of_url
from vlm_dense.datasets.preparation.check_boxes import box_keys, read_document
from vlm_dense.datasets.preparation.class_lists import word_list
from vlm_dense.datasets.preparation.files import is_newer, link_folder, placed
from vlm_dense.datasets.preparation.workplace import Workplace

OV_COCO = 'ovcoco'
PICTURES_65_15 = Path(__file__).with_name('coco_65_15_pictures.json')


def split_ov_coco(work: Workplace) -> None:
    """Write OV-COCO's files: val2017 with 65, 48 (seen) and 17 (unseen) words, and train2017 with the 48.

    Each holds the annotations of its words and the pictures with at least one of them, as OVR-CNN's files do
    (arXiv:2011.10678; its notebook 001). Ids stay COCO's.
    """
    words, base = word_list(OV_COCO)
    parts = {'val2017_all_2': set(words), 'val2017_seen_2': base, 'val2017_unseen_2': set(words) - base}
    if work.train:
        parts['train2017_seen_2'] = base
    for part, kept in parts.items():
        source = f'coco/annotations/instances_{part.split("_")[0]}.json'
        write_part(work, source, f'coco/annotations/instances_{part}.json', only_words(kept))


def split_65_15(work: Workplace) -> None:
    """Write the test file of COCO 65/15: the pictures of val2014 that the split tests on, annotated with all 80 words.

    They are those of the lists that Rahman et al. (arXiv:1811.08982) published: every one has an unseen object. Their
    list for the task without seen words names the unseen objects, that for the generalised task all; the pictures are
    the same.
    """
    ids = frozenset(json.loads(PICTURES_65_15.read_text(encoding='utf-8'))['ids'])
    target = 'coco/annotations/instances_val2014_65_15.json'
    write_part(work, 'coco/annotations/instances_val2014.json', target, lambda document: of_pictures(document, ids))


def split_minival(work: Workplace) -> None:
    """Write LVIS minival: the pictures of LVIS v1 val that lie in COCO's val2017, with all 1,203 categories."""
    target = 'lvis_v1/annotations/lvis_v1_minival.json'
    write_part(work, 'lvis_v1/annotations/lvis_v1_val.json', target, pictures_of_val2017, 'coco_url')


def link_coco_pictures(work: Workplace) -> None:
    """Let LVIS use COCO's folders of pictures where they are prepared."""
    for part in ('train2017', 'val2017'):
        link_folder(work.root / 'coco' / part, work.root / 'lvis_v1' / part)


def write_part(
    work: Workplace, source: str, target: str, choose: Callable[[dict], dict], name_key: str = 'file_name'
) -> None:
    """Write ``choose(document)`` unless the target is newer than the source; a bad source is a defect."""
    source_path, target_path = work.root / source, work.root / target
    if is_newer(target_path, source_path):
        return
    document = read_document(work, source, box_keys(name_key))
    if document is None:
        return
    with placed(target_path) as part:
        part.write_text(json.dumps(choose(document)), encoding='utf-8')
    work.report.made.append(f'{target_path}: written')


def only_words(words: Collection[str]) -> Callable[[dict], dict]:
    """Keep the categories of some words, their annotations, and the pictures with one of these."""

    def choose(document: dict) -> dict:
        categories = [category for category in document['categories'] if category['name'] in words]
        kept = {category['id'] for category in categories}
        annotations = [entry for entry in document['annotations'] if entry['category_id'] in kept]
        pictures = {entry['image_id'] for entry in annotations}
        images = [image for image in document['images'] if image['id'] in pictures]
        return {**document, 'categories': categories, 'annotations': annotations, 'images': images}

    return choose


def pictures_of_val2017(document: dict) -> dict:
    """Keep the pictures that ``coco_url`` places in val2017, and their annotations."""
    pictures = {image['id'] for image in document['images'] if place_of_url(image['coco_url']).startswith('val2017/')}
    return of_pictures(document, pictures)


def of_pictures(document: dict, pictures: Collection[int]) -> dict:
    """Keep some pictures, by id, and their annotations."""
    images = [image for image in document['images'] if image['id'] in pictures]
    annotations = [entry for entry in document['annotations'] if entry['image_id'] in pictures]
    return {**document, 'images': images, 'annotations': annotations}
