"""Every recipe of configs/, shrunk until it steps in seconds, on made-up data in the layout that it reads.

Types and structure stay; widths, sizes and paths change. Words and teachers that need weights which no package
ships are replaced by `HashedBank` and `OneConvTower`.
"""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
SIDE = 96
CLIP_WIDTH = 512
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
class OneConvTower(ImageTower):
    """One convolution of CLIP ViT-B/32's width, the same whenever it is made."""

    mean = (122.8, 116.7, 104.1)
    std = (68.5, 66.6, 70.3)
    input_size = 32
    fingerprint = 'one convolution'

    def __init__(self, embed_dim: int = CLIP_WIDTH) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.conv = nn.Conv2d(3, embed_dim, 32)
        self.conv.weight.data.normal_(std=0.02, generator=torch.Generator().manual_seed(0))
        self.conv.bias.data.zero_()

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        return functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)


@MODELS.register_module()
class HashedEncoder:
    """A text encoder over `HashedBank`'s rows, thrice as long where they need not be of unit length."""

    fingerprint = 'hashed'

    def __init__(self, embed_dim: int = CLIP_WIDTH) -> None:
        self.bank = HashedBank(embed_dim)

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        rows_ND = torch.stack([self.bank._vector(text) for text in texts])
        return functional.normalize(rows_ND, dim=1) * (1 if normalise else 3)


def tiny_recipe(name: str, root: Path) -> Config:
    """Read a recipe, shrink it and point it to the data below ``root``."""
    config = Config.fromfile(CONFIGS / name)
    init_default_scope(config.default_scope)
    shrink_of(name)(config)
    move(config._cfg_dict, root)
    return config


def shrink_pictures(config: Config) -> None:
    """The built-in recipes keep their real words and tower; only the scenes are smaller."""
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (2 * SIDE, 2 * SIDE)


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
    """Mask R-CNN's heads and FPN on any backbone."""
    model = config.model
    model.text_bank = dict(type='vlm_dense.HashedBank')
    narrow(model)
    model.roi_head.bbox_head.in_channels = 16
    model.train_cfg.rcnn.sampler.num = 16
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        narrow(loader.dataset)


def shrink_vild(config: Config) -> None:
    """Mask R-CNN with ResNet-50 and a teacher."""
    shrink_mask_rcnn(config)
    config.model.branches.image.teacher.tower = dict(type='vlm_dense.OneConvTower')
    config.model.backbone.base_channels = 8
    config.model.neck.in_channels = [32, 64, 128, 256]


def shrink_fvlm(config: Config) -> None:
    """Mask R-CNN on CLIP's ResNet, which scores regions too."""
    shrink_mask_rcnn(config)
    model = config.model
    model.backbone.tower.update(name=tiny_clip_resnet(), pretrained=None)
    model.neck.in_channels = [64, 128, 256, 512]
    model.roi_head.bbox_head.embed_dim = CLIP_WIDTH
    model.region_scorer.roi_extractor.out_channels = 512
    model.region_scorer.roi_extractor.roi_layer.output_size = 2
    model.region_scorer.classifier.embed_dim = CLIP_WIDTH
    for classifier in (model.roi_head.bbox_head.classifier, model.region_scorer.classifier):
        classifier.background.bank = dict(type='vlm_dense.HashedBank')


@cache
def tiny_clip_resnet() -> str:
    """Tell open_clip of a CLIP ResNet with one block in each stage."""
    import open_clip

    vision = {'image_size': 64, 'layers': [1, 1, 1, 1], 'width': 16, 'head_width': 32}
    text = {'context_length': 8, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 1}
    with TemporaryDirectory() as folder:
        settings = {'embed_dim': CLIP_WIDTH, 'vision_cfg': vision, 'text_cfg': text}
        Path(folder, 'vlm-dense-recipe-resnet.json').write_text(json.dumps(settings))
        open_clip.add_model_config(folder)
    return 'vlm-dense-recipe-resnet'


def shrink_lseg(config: Config) -> None:
    """ViT with the DPT decoder."""
    model = config.model
    model.backbone.tower.update(name='test_vit', pretrained=None, taps=(0, 1, 2, 3))
    model.decode_head.update(in_channels=64, reassemble_channels=(8, 8, 8, 8), channels=16)
    model.text_bank = dict(type='vlm_dense.HashedBank')
    model.data_preprocessor.size = (SIDE, SIDE)
    model.test_cfg.update(crop_size=(SIDE, SIDE), stride=(64, 64))
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        for step in loader.dataset.pipeline:
            if step.type in ('RandomResize', 'Resize'):
                step.scale = (2 * SIDE, SIDE)
            if step.type == 'RandomCrop':
                step.crop_size = (SIDE, SIDE)


def tiny_clip_vit(blocks: int) -> str:
    """A plain vision transformer known to open_clip, 64 wide, into CLIP ViT-B/16's space."""
    import open_clip

    name = f'vlm-dense-recipe-vit-{blocks}'
    vision = dict(image_size=SIDE, layers=blocks, width=64, patch_size=16)
    text = dict(context_length=8, vocab_size=49408, width=32, heads=2, layers=1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f'{name}.json'
        path.write_text(json.dumps(dict(embed_dim=CLIP_WIDTH, quick_gelu=True, vision_cfg=vision, text_cfg=text)))
        open_clip.add_model_config(path)
    return name


def shrink_film(config: Config) -> None:
    """Tapped CLIP with the FiLM decoder."""
    model = config.model
    model.backbone.tower.update(name=tiny_clip_vit(blocks=10), pretrained=None)
    model.text_bank.bank.encoder = dict(type='vlm_dense.HashedEncoder')
    model.text_bank.bank.cache_dir = None
    model.decode_head.update(in_channels=64, channels=16, feedforward=32)
    model.data_preprocessor.size = (SIDE, SIDE)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        narrow(loader.dataset)


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


def write_region_bank(root: Path) -> None:
    """What `tools/precompute_regions.py` writes for the miniature of the recipe that reads a bank."""
    spec = importlib.util.spec_from_file_location('precompute_regions', ROOT / 'tools' / 'precompute_regions.py')
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
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


def write_data(root: Path, pictures_root: Path) -> None:
    """Data for every recipe: LVIS with a bank of regions, COCO, ADE20K, PhraseCut and the built-in pictures."""
    write_boxes_data(root)
    write_region_bank(root)
    write_ade20k_data(root)
    write_phrasecut_data(root)
    shutil.copytree(pictures_root / 'data' / 'pictures', root / 'data' / 'pictures')


# By the beginning of a recipe's name; recipes of the built-in pictures have their own.
SHRINKS = {
    'clipseg_rd64': shrink_film,
    'fvlm_rn50': shrink_fvlm,
    'lseg_vit': shrink_lseg,
    'vild_r50': shrink_vild,
}


def shrink_of(name: str) -> Callable[[Config], None]:
    """How a recipe is shrunk."""
    if '_pictures' in name:
        return shrink_pictures
    fitting = [shrink for start, shrink in SHRINKS.items() if name.startswith(start)]
    assert fitting, f'tests/recipes.py does not know how to shrink {name}; add it to SHRINKS'
    return fitting[0]
