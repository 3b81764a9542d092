"""Every recipe of configs/, shrunk until it steps in seconds, on made-up data in the layout that it reads.

Types and structure stay; widths, sizes and paths change. Words and teachers that need weights which no package
ships are replaced by `HashedBank` and `OneConvTower`.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
SIDE = 96
CLIP_WIDTH = 512
TINY_WIDTH = 32
NARROW = dict(conv_channels=16, fc_channels=32, conv_out_channels=16, feat_channels=16, max_per_img=20, nms_pre=40)


@MODELS.register_module()
class HashedBank:
    """Unit rows that depend on the word alone, of CLIP ViT-B/32's width."""

    def __init__(self, embed_dim: int = CLIP_WIDTH) -> None:
        self.embed_dim = embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        return functional.normalize(torch.stack([self._vector(word) for word in vocabulary.words]), dim=1)

    def _vector(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], 'big')
        return torch.randn(self.embed_dim, generator=torch.Generator().manual_seed(seed))


@MODELS.register_module()
class NamesBank(HashedBank):
    """A `HashedBank` that also knows the names of words."""

    def rows_of_names(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        names = [(name, row) for row in range(len(vocabulary)) for name in vocabulary.names(row)]
        rows_SD = torch.stack([self._vector(name) for name, _ in names])
        return functional.normalize(rows_SD, dim=1), torch.tensor([row for _, row in names])


@MODELS.register_module()
class OneConvTower(ImageTower):
    """One convolution of CLIP ViT-B/32's width, or another, with cells of ``side`` pixels."""

    mean = (122.8, 116.7, 104.1)
    std = (68.5, 66.6, 70.3)
    input_size = 32

    def __init__(self, embed_dim: int = CLIP_WIDTH, side: int = 32) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.conv = nn.Conv2d(3, embed_dim, side, stride=side)

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        return functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        return (self.conv(images_B3HW),)


def tiny_recipe(name: str, root: Path) -> Config:
    """Read a recipe, shrink it and point it to the data below ``root``."""
    config = Config.fromfile(CONFIGS / name)
    init_default_scope(config.default_scope)
    shrink_of(name)(config)
    move(config._cfg_dict, root)
    return config


def shrink_pictures(config: Config) -> None:
    """The built-in recipes keep their real words and tower; only the scenes are smaller."""
    for loader in loaders_of(config):
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (2 * SIDE, 2 * SIDE)


def loaders_of(config: Config) -> list[Any]:
    """The loaders of a config; a recipe without training has no first."""
    names = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [config[name] for name in names if config.get(name) is not None]


def narrow(settings: object) -> None:
    """Narrow layers, few regions, ordinary norms, small pictures; types and structure stay."""
    if isinstance(settings, list | tuple):
        for entry in settings:
            narrow(entry)
    if not isinstance(settings, dict):
        return
    if settings.get('type') == 'SyncBN':
        settings['type'] = 'BN'  # torch has no synchronised norm on CPUs
    if settings.get('type') == 'RandomResize':
        settings['scale'], settings['ratio_range'] = (SIDE, SIDE), (0.9, 1.1)
    if settings.get('type') == 'Resize':
        settings['scale'] = (SIDE, SIDE)
    if settings.get('type') == 'RandomCrop':
        settings['crop_size'] = (SIDE, SIDE)
    settings.update({key: value for key, value in NARROW.items() if key in settings})
    if settings.get('out_channels') == 256:
        settings['out_channels'] = 16
    if settings.get('in_channels') == 256:
        settings['in_channels'] = 16
    for value in settings.values():
        narrow(value)


def shrink_mask_rcnn(config: Config) -> None:
    """Mask R-CNN with ResNet-50 and an FPN."""
    model = config.model
    model.text_bank = dict(type='vlm_dense.HashedBank')
    model.branches.image.teacher.tower = dict(type='vlm_dense.OneConvTower')
    narrow(model)
    model.backbone.base_channels = 8
    model.neck.in_channels = [32, 64, 128, 256]
    model.roi_head.bbox_head.in_channels = 16
    model.train_cfg.rcnn.sampler.num = 16
    for loader in loaders_of(config):
        narrow(loader.dataset)


def shrink_lseg(config: Config) -> None:
    """ViT with the DPT decoder."""
    model = config.model
    model.backbone.update(img_size=(SIDE, SIDE), embed_dims=32, num_layers=4, num_heads=2, out_indices=(0, 1, 2, 3))
    model.backbone.init_cfg = None
    model.decode_head.update(in_channels=32, reassemble_channels=(8, 8, 8, 8), channels=16)
    model.text_bank = dict(type='vlm_dense.HashedBank')
    model.data_preprocessor.size = (SIDE, SIDE)
    model.test_cfg.update(crop_size=(SIDE, SIDE), stride=(64, 64))
    for loader in loaders_of(config):
        for step in loader.dataset.pipeline:
            if step.type in ('RandomResize', 'Resize'):
                step.scale = (2 * SIDE, SIDE)
            if step.type == 'RandomCrop':
                step.crop_size = (SIDE, SIDE)


def shrink_dense_clip(config: Config) -> None:
    """A frozen CLIP tower without decoder; ViT-B/16 and RN50 become tiny, the read-out stays."""
    add_tiny_towers()
    tower = config.model.backbone.tower
    towers = [tower, tower.tower] if 'tower' in tower else [tower]
    for one in towers:
        if one.type == 'vlm_dense.OpenClipTower':
            kind = 'resnet' if one.name.startswith('RN') else 'vit'
            one.update(name=f'vlm-dense-recipe-{kind}', pretrained=None)
    if 'proxy' in tower:
        tower.proxy = dict(type='vlm_dense.OneConvTower', side=8)
    config.model.text_bank = dict(type='vlm_dense.NamesBank', embed_dim=TINY_WIDTH)
    if config.model.get('test_cfg', {}).get('mode') == 'slide':
        config.model.test_cfg.update(crop_size=(64, 64), stride=(32, 32))
    for loader in loaders_of(config):
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (2 * SIDE, SIDE)


def add_tiny_towers() -> None:
    """Make open_clip know two architectures that build in a moment."""
    import open_clip

    text = dict(context_length=8, vocab_size=49408, width=32, heads=2, layers=1)
    visions = dict(
        vit=dict(image_size=48, layers=3, width=64, patch_size=16, head_width=16),
        resnet=dict(image_size=64, layers=[1, 1, 1, 1], width=16, head_width=16),
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind, vision in visions.items():
            architecture = dict(embed_dim=TINY_WIDTH, vision_cfg=vision, text_cfg=text)
            Path(folder, f'vlm-dense-recipe-{kind}.json').write_text(json.dumps(architecture))
        open_clip.add_model_config(folder)


def move(settings: Any, root: Path) -> None:
    """Point every path that starts in data/ to a folder of the test."""
    if isinstance(settings, list):
        for entry in settings:
            move(entry, root)
    if isinstance(settings, dict):
        for key, value in settings.items():
            if isinstance(value, str) and value.startswith('data/'):
                settings[key] = str(root / value) + ('/' if value.endswith('/') else '')
            move(value, root)


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
    generator = np.random.default_rng(0)
    for data, names, files in (
        ('lvis_v1', ['aerosol_can', 'abacus', 'air_conditioner'], ['lvis_v1_train.json', 'lvis_v1_val.json']),
        ('coco', words, ['instances_train2017.json', 'instances_val2017_all_2.json']),
    ):
        folder = root / 'data' / data
        (folder / 'annotations').mkdir(parents=True)
        for split, file in zip(('train2017', 'val2017'), files, strict=True):
            (folder / split).mkdir()
            pictures = [f'{split}/{number}.jpg' for number in range(2)]
            for picture in pictures:
                Image.fromarray(generator.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / picture)
            content = annotations(names, pictures, lvis=data == 'lvis_v1')
            (folder / 'annotations' / file).write_text(json.dumps(content))
    everything = annotations(names, pictures, lvis=False)
    (folder / 'annotations' / 'instances_val2017.json').write_text(json.dumps(everything))


def write_ade20k_data(root: Path) -> None:
    """ADE20K's folder with two pictures in each part."""
    folder = root / 'data' / 'ade' / 'ADEChallengeData2016'
    random = np.random.default_rng(0)
    for part in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (folder / kind / part).mkdir(parents=True)
        for number in range(2):
            picture = random.integers(0, 256, (110, 130, 3), dtype=np.uint8)
            labels = np.repeat(np.repeat(random.integers(0, 151, (11, 13), dtype=np.uint8), 10, 0), 10, 1)
            Image.fromarray(picture).save(folder / 'images' / part / f'{number}.jpg')
            Image.fromarray(labels).save(folder / 'annotations' / part / f'{number}.png')


# Folder, endings of pictures and label maps, the list of pictures, and the highest label.
SEGMENTATION_SETS = (
    ('VOCdevkit/VOC2012', 'JPEGImages', 'SegmentationClass', '.png', 'ImageSets/Segmentation/val.txt', 20),
    (
        'VOCdevkit/VOC2010',
        'JPEGImages',
        'SegmentationClassContext',
        '.png',
        'ImageSets/SegmentationContext/val.txt',
        59,
    ),
    ('coco_stuff164k', 'images/val2017', 'annotations/val2017', '_labelTrainIds.png', None, 170),
)


def write_segmentation_data(root: Path) -> None:
    """The folders of PASCAL VOC, PASCAL Context and COCO-Stuff with two pictures each."""
    random = np.random.default_rng(0)
    for folder, images, maps, ending, listing, highest in SEGMENTATION_SETS:
        base = root / 'data' / folder
        for kind in (images, maps):
            (base / kind).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            picture = random.integers(0, 256, (110, 130, 3), dtype=np.uint8)
            labels = np.repeat(np.repeat(random.integers(0, highest + 1, (11, 13), dtype=np.uint8), 10, 0), 10, 1)
            Image.fromarray(picture).save(base / images / f'{number}.jpg')
            Image.fromarray(labels).save(base / maps / f'{number}{ending}')
        if listing:
            (base / listing).parent.mkdir(parents=True)
            (base / listing).write_text('0\n1\n')


def write_data(root: Path, pictures_root: Path) -> None:
    """Data for every recipe: LVIS, COCO, ADE20K, VOC, Context, COCO-Stuff and the built-in pictures."""
    write_boxes_data(root)
    write_ade20k_data(root)
    write_segmentation_data(root)
    shutil.copytree(pictures_root / 'data' / 'pictures', root / 'data' / 'pictures')


# By the beginning of a recipe's name; recipes of the built-in pictures have their own.
SHRINKS = {
    'clearclip_': shrink_dense_clip,
    'lseg_vit': shrink_lseg,
    'maskclip_': shrink_dense_clip,
    'proxyclip_': shrink_dense_clip,
    'sclip_': shrink_dense_clip,
    'vild_r50': shrink_mask_rcnn,
}


def shrink_of(name: str) -> Callable[[Config], None]:
    """How a recipe is shrunk."""
    if '_pictures' in name:
        return shrink_pictures
    fitting = [shrink for start, shrink in SHRINKS.items() if name.startswith(start)]
    assert fitting, f'tests/recipes.py does not know how to shrink {name}; add it to SHRINKS'
    return fitting[0]
