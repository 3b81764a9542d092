"""Checks of panoptic annotations in COCO's form: a json of segments and a map of segment ids per picture."""

from vlm_dense.datasets.preparation.check_boxes import PICTURES, check_names, check_pictures, read_document
from vlm_dense.datasets.preparation.workplace import Workplace

PANOPTIC_KEYS = {
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('image_id', 'file_name', 'segments_info'),
    'categories': ('id', 'name'),
}


def check_panoptic(work: Workplace, ann: str, pictures: str, maps: str, classes: str) -> None:
    """Check counts, class list, pictures and their sizes, and that each map has just the segments of the json.

    Args:
        ann: The json, below the root.
        pictures: Folder of the pictures.
        maps: Folder of the maps; the id of a segment is R + 256 G + 65536 B, 0 is no segment.
        classes: Class list that the names must equal.
    """
    document = read_document(work, ann, PANOPTIC_KEYS)
    if document is None:
        return
    work.count(PICTURES, len(document['images']), ann)
    check_names(work, ann, [category['name'] for category in document['categories']], classes)
    images = {image['id']: image for image in document['images']}
    _check_categories(work, ann, document)
    check_pictures(
        work, [(f'{pictures}/{image["file_name"]}', image['width'], image['height']) for image in images.values()]
    )
    # mmdet's converter of ADE20K writes the pictures' names.
    entries = {(work.root / maps / entry['file_name']).with_suffix('.png'): entry for entry in document['annotations']}
    facts = work.facts.of(entries, 'segments')
    work.report.defect_each('panoptic map is missing', [path for path, fact in facts.items() if not fact], work.remedy)
    for path, fact in facts.items():
        if fact and fact.error:
            work.report.defect(fact.error, path, work.remedy)
        elif fact and (image := images.get(entries[path]['image_id'])):
            if (fact.width, fact.height) != (image['width'], image['height']):
                problem = f'is {fact.width} x {fact.height} pixels, its picture {image["width"]} x {image["height"]}'
                work.report.defect(problem, path, work.remedy)
            listed = {segment['id'] for segment in entries[path]['segments_info']}
            odd = sorted(listed ^ (set(fact.values) - {0}))
            if odd:
                problem = f'has other segments than {work.root / ann}: {odd[:10]} are in one of the two only'
                work.report.defect(problem, path, work.remedy)


def _check_categories(work: Workplace, ann: str, document: dict) -> None:
    pictures = {image['id'] for image in document['images']}
    known = {category['id'] for category in document['categories']}
    path = work.root / ann
    strays = [entry['image_id'] for entry in document['annotations'] if entry['image_id'] not in pictures]
    problem = 'annotations name a picture that the file lacks'
    work.report.defect_each(problem, [f'{path}, image_id {stray}' for stray in strays], work.remedy)
    used = {segment['category_id'] for entry in document['annotations'] for segment in entry['segments_info']}
    problem = 'segments name a category that the file lacks'
    work.report.defect_each(problem, [f'{path}, category_id {stray}' for stray in sorted(used - known)], work.remedy)
