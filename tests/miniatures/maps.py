"""ADE20K, PASCAL Context, VOC 2012, Cityscapes and COCO-Stuff with label maps."""

import io
import json
from pathlib import Path

import numpy as np

from miniatures.boxes import VAL, as_json, box, class_names, image, panoptic, pictures_zip
from miniatures.packing import HEIGHT, WIDTH, blocks_map, photograph, png, write_files, write_tar, write_zip

ADE_NAMES = ('ADE_val_00000001', 'ADE_val_00000002')
VOC_NAMES = ('2008_000002', '2008_000003')
ADE_2016 = 'ade/ADEChallengeData2016'
# Objects of ADE20K: "wall" (class 0), class 255, "building" (class 1), and an index that has no class.
ADE_OBJECTS = (2978, None, 312, 1)
# Ids of the 459: "aeroplane", "bag", one outside the 59, "wood".
CONTEXT_IDS = (2, 9, 1, 458)


def write_ade20k_150(archives_dir: Path) -> None:
    """The scene parsing challenge: 0 is "other", 1..150 are classes."""
    files = {}
    for seed, name in enumerate(ADE_NAMES):
        files[f'ADEChallengeData2016/images/validation/{name}.jpg'] = photograph(seed)
        files[f'ADEChallengeData2016/annotations/validation/{name}.png'] = png(blocks_map([0, 1, 150, 13 + seed]))
    files['ADEChallengeData2016/images/training/ADE_train_00000001.jpg'] = photograph(9)
    files['ADEChallengeData2016/annotations/training/ADE_train_00000001.png'] = png(blocks_map([0, 3]))
    write_zip(archives_dir / 'ADEChallengeData2016.zip', files)


def index_of_class_255() -> int:
    path = Path(__file__).parents[2] / 'vlm_dense/datasets/preparation/ade20k_847_indices.json'
    return json.loads(path.read_text(encoding='utf-8'))['rows'][255][0]


def ade_seg(width: int, height: int) -> np.ndarray:
    """Objects as ADE20K's full release draws them (H, W, 3): R = index // 256 * 10, G = index % 256."""
    indices = [index_of_class_255() if index is None else index for index in ADE_OBJECTS]
    index_HW = blocks_map(indices, width, height, np.int64)
    instance_HW = np.full_like(index_HW, 7)
    return np.stack([index_HW // 256 * 10, index_HW % 256, instance_HW], -1).astype(np.uint8)


def write_ade20k_847(archives_dir: Path) -> None:
    """The full release: one small picture, and one whose shorter side exceeds 512 pixels."""
    files = {}
    for seed, (name, (width, height)) in enumerate(zip(ADE_NAMES, ((WIDTH, HEIGHT), (700, 560)), strict=True)):
        place = f'ADE20K_2021_17_01/images/ADE/validation/urban/street/{name}'
        files[f'{place}.jpg'] = photograph(seed, width, height)
        files[f'{place}_seg.png'] = png(ade_seg(width, height))
        files[f'{place}_parts_1.png'] = png(ade_seg(width, height))
        files[f'{place}/instance_000_{name}.png'] = png(blocks_map([0, 255]))
        files[f'{place}.json'] = b'{}'
    write_zip(archives_dir / 'ADE20K_2021_17_01.zip', files)


def _place_ade_pictures(root: Path) -> None:
    write_files(root / ADE_2016 / 'images/validation', {f'{name}.jpg': photograph(1) for name in ADE_NAMES})


def place_ade20k_panoptic(root: Path) -> None:
    """What mmdet's ade20k2coco.py makes for the panoptic task."""
    _place_ade_pictures(root)
    names = class_names('ADE20KPanopticDataset')
    categories = [{'id': number, 'name': name, 'isthing': int(number < 100)} for number, name in enumerate(names)]
    write_files(root / ADE_2016, panoptic(list(ADE_NAMES), categories, Path('ade20k_panoptic_val'), '.jpg'))


def place_ade20k_instance(root: Path) -> None:
    """What mmdet's ade20k2coco.py makes for the instance task."""
    _place_ade_pictures(root)
    categories = [{'id': number, 'name': name} for number, name in enumerate(class_names('ADE20KInstanceDataset'))]
    images = [{**image(0, f'{name}.jpg'), 'id': name} for name in ADE_NAMES]
    annotations = [box(number, name, 3 + number, (2, 2, 30, 30)) for number, name in enumerate(ADE_NAMES)]
    document = {'images': images, 'annotations': annotations, 'categories': categories}
    write_files(root / ADE_2016, {'ade20k_instance_val.json': as_json(document)})


def context_map() -> np.ndarray:
    """Labels 0..459 of one picture (H, W), uint16."""
    return blocks_map([*CONTEXT_IDS, 256], dtype=np.uint16)


def _voc2010_pictures(archives_dir: Path) -> None:
    files = {f'VOCdevkit/VOC2010/JPEGImages/{name}.jpg': photograph(seed) for seed, name in enumerate(VOC_NAMES)}
    files['VOCdevkit/VOC2010/JPEGImages/2008_000008.jpg'] = photograph(8)
    write_tar(archives_dir / 'VOCtrainval_03-May-2010.tar', files)


def write_context59(archives_dir: Path) -> None:
    """VOC 2010's pictures and the run-length masks of trainval_merged.json: two val pictures and one for training."""
    from pycocotools.mask import encode

    _voc2010_pictures(archives_dir)
    images, annotations = [], []
    for name, phase in (*((name, 'val') for name in VOC_NAMES), ('2008_000008', 'train')):
        number = int(name.replace('_', ''))
        images.append(
            {'image_id': number, 'file_name': f'{name}.jpg', 'phase': phase, 'width': WIDTH, 'height': HEIGHT}
        )
        for index in CONTEXT_IDS:
            code = encode(np.asfortranarray((context_map() == index).astype(np.uint8)))
            mask = {'size': list(code['size']), 'counts': code['counts'].decode()}
            annotations.append({'image_id': number, 'category_id': index, 'segmentation': mask})
    merged = {'images': images, 'annos_segmentation': annotations}
    write_files(archives_dir, {'trainval_merged.json': json.dumps(merged).encode()})


def write_context459(archives_dir: Path) -> None:
    """What PASCAL Context's authors publish: a .mat file with the map ``LabelMap`` per picture."""
    from scipy.io import savemat

    write_context59(archives_dir)
    files = {}
    for name in (*VOC_NAMES, '2008_000008'):
        buffer = io.BytesIO()
        savemat(buffer, {'LabelMap': context_map()})
        files[f'trainval/{name}.mat'] = buffer.getvalue()
    write_tar(archives_dir / 'trainval.tar.gz', files)


def write_voc2012(archives_dir: Path) -> None:
    """VOC 2012: two val pictures, and one that only the list of training pictures has."""
    files = {
        'VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt': '\n'.join(VOC_NAMES).encode(),
        'VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt': b'2008_000008\n',
    }
    for seed, name in enumerate((*VOC_NAMES, '2008_000008')):
        files[f'VOCdevkit/VOC2012/JPEGImages/{name}.jpg'] = photograph(seed)
        files[f'VOCdevkit/VOC2012/SegmentationClass/{name}.png'] = png(blocks_map([0, 1, 255, 20 - seed]))
    write_tar(archives_dir / 'VOCtrainval_11-May-2012.tar', files)


def write_cityscapes(archives_dir: Path) -> None:
    """Two cities of one picture each, with the raw labels 0..33."""
    pictures, maps = {}, {}
    for city, values in (('frankfurt', [0, 7, 8, 33]), ('lindau', [24, 29, 26, 3])):
        name = f'val/{city}/{city}_000000_000294'
        pictures[f'leftImg8bit/{name}_leftImg8bit.png'] = photograph(len(city), kind='PNG')
        maps[f'gtFine/{name}_gtFine_labelIds.png'] = png(blocks_map(values))
        maps[f'gtFine/{name}_gtFine_color.png'] = photograph(3, kind='PNG')
        maps[f'gtFine/{name}_gtFine_polygons.json'] = b'{}'
    write_zip(archives_dir / 'leftImg8bit_trainvaltest.zip', pictures)
    write_zip(archives_dir / 'gtFine_trainvaltest.zip', maps)


def write_coco_stuff(archives_dir: Path) -> None:
    """COCO-Stuff's maps of things (0..90) and stuff (91..181), 255 where nothing is labelled."""
    pictures_zip(archives_dir, 'val2017', VAL)
    rows = ([0, 89, 91, 181], [255, 12, 45, 150], [10, 24, 26, 100])
    files = {f'val2017/{number:012}.png': png(blocks_map(values)) for number, values in zip(VAL, rows, strict=True)}
    write_zip(archives_dir / 'stuffthingmaps_trainval2017.zip', files)
