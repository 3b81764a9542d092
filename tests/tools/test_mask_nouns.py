"""tools/mask_nouns.py: which mask a noun gets, masks of files and of a segmentor, killed and shared runs."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recipe_parts  # noqa: F401  the text bank of the segmentor
import torch
from interrupted import killed, shared_by_two
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask
from recipe_data import tool_module
from tiny_runs import DETECTOR, NUM_PICTURES, SIZE, write_config, write_pictures

from vlm_dense.apis import Finder
from vlm_dense.datasets import MaskNounDataset
from vlm_dense.errors import ConfigError, DataError, MissingFileError, VocabularyError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import ImageTower, MaskedCrops

CAPTIONS = ('a red box and a green box', 'a green box beside a blue box', 'is it?')
NAMER = """
default_scope = 'mmdet'
custom_imports = dict(imports=['vlm_dense.registry'])
model = dict(
    type='vlm_dense.RegionNamer',
    tower=dict(type='vlm_dense.MeanColourTower'),
    text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.ColourEncoder'), prompt='name'),
    loss=dict(type='vlm_dense.GatheredContrast'),
)
"""
SEGMENTOR = """
default_scope = 'mmseg'
custom_imports = dict(imports=['vlm_dense.registry'])
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(56, 40), keep_ratio=False),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=['red box']),
]
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='vlm_dense.VocabularySegDataset', vocabulary=['red box'], pipeline=pipeline, data_root='DATA',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
    ),
)
test_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_cfg = dict(type='TestLoop')
attention = dict(embed_dims=32, num_heads=4, dropout=0.0, batch_first=True)
layer = dict(
    self_attn_cfg=attention, cross_attn_cfg=attention,
    ffn_cfg=dict(embed_dims=32, feedforward_channels=48, num_fcs=2, ffn_drop=0.0),
)
model = dict(
    type='vlm_dense.OVMaskSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[60.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, size_divisor=32,
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='vlm_dense.OVMaskFormerHead', in_channels=[8, 16, 32, 64], feat_channels=32, out_channels=32,
        num_queries=7, positional_encoding=dict(num_feats=16, normalize=True),
        pixel_decoder=dict(type='mmdet.PixelDecoder', norm_cfg=dict(type='GN', num_groups=32)),
        transformer_decoder=dict(num_layers=2, layer_cfg=layer, return_intermediate=True),
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=512, background=None, void='learned'),
    ),
    text_bank=dict(type='vlm_dense.HashedBank'),
)
"""

BY_MASKS = {
    'segmentor': {},
    'detector': {
        "'mmseg'": "'mmdet'",
        'PackSegInputs': 'PackDetInputs',
        'OVMaskSegmentor': 'OVMaskDetector',
        'decode_head': 'mask_head',
        'SegDataPreProcessor': 'DetDataPreprocessor',
        'size_divisor=32,\n        test_cfg=dict(size_divisor=32)': 'pad_size_divisor=32',
    },
}


@MODELS.register_module()
class MeanColourTower(ImageTower):
    """The mean colour of a picture, less grey; hidden pixels are black and only make it paler."""

    mean = (0.0, 0.0, 0.0)
    std = (255.0, 255.0, 255.0)
    input_size = 16
    embed_dim = 3
    fingerprint = 'mean colour'

    def embed_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        colour_B3 = images_B3HW.mean(dim=(2, 3))
        return torch.nn.functional.normalize(colour_B3 - colour_B3.mean(dim=1, keepdim=True), dim=1)


@MODELS.register_module()
class ColourEncoder:
    """The colours that a text names, as `MeanColourTower` would embed them."""

    fingerprint = 'colours'
    embed_dim = 3

    def encode(self, texts: list[str], normalise: bool = True) -> torch.Tensor:
        if any('odd' in text for text in texts):
            raise VocabularyError("'odd' takes too many tokens.")
        rows_N3 = torch.tensor([[float(name in text) for name in ('red', 'green', 'blue')] for text in texts])
        return torch.nn.functional.normalize(rows_N3 - rows_N3.mean(dim=1, keepdim=True), dim=1)


@pytest.fixture
def tool():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield tool_module('mask_nouns')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv('VLM_DENSE_CACHE', str(tmp_path / 'cache'))
    write_pictures(tmp_path)
    (tmp_path / 'namer.py').write_text(NAMER)
    lines = [dict(filename=f'{n}.png', caption=CAPTIONS[n % 3]) for n in range(NUM_PICTURES)]
    (tmp_path / 'captions.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    images, annotations = [], []
    for n in range(NUM_PICTURES):
        labels_HW = cv2.imread(str(tmp_path / f'labels/{n}.png'), cv2.IMREAD_UNCHANGED)
        images.append(dict(id=n, file_name=f'{n}.png'))
        annotations += [dict(image_id=n, segmentation=rle(labels_HW == label)) for label in (2, 0, 1)]
    (tmp_path / 'masks.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    return tmp_path


def rle(mask_HW: np.ndarray) -> dict:
    found = coco_mask.encode(np.asfortranarray(mask_HW, np.uint8))
    return dict(size=list(found['size']), counts=found['counts'].decode())


def command(folder: Path, *more: str, source: tuple[str, ...] = ('--masks', 'masks.json'), out: str = 'out.jsonl'):
    option, *values = source
    values = [value if value == 'none' else str(folder / value) for value in values]
    captions = [] if '--captions' in more else ['--captions', str(folder / 'captions.jsonl')]
    places = ['--pictures', str(folder / 'images'), '--out', str(folder / out), '--save-every', '2']
    return [str(folder / 'namer.py'), option, *values, *captions, *places, *more]


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_noun_gets_the_mask_that_shows_it(tool, folder, capsys):
    tool.main(command(folder, '--unit', 'phrases'))
    lines = read(folder / 'out.jsonl')
    said = capsys.readouterr().out
    assert '12 lines; of 9 captions 6 with pairs, 3 without a noun, 0 whose picture has no mask' in said
    colours = ('red box', 'green box', 'blue box')
    shown = 0
    for line in lines:
        number = int(Path(line['filename']).stem)
        assert line['caption'] == CAPTIONS[number % 3]
        labels_HW = cv2.imread(str(folder / f'labels/{number}.png'), cv2.IMREAD_UNCHANGED)
        own_HW = labels_HW == colours.index(line['noun'])
        if own_HW.any():  # or another box hides it
            assert (coco_mask.decode(line['segmentation']).astype(bool) == own_HW).all()
            shown += 1
    assert shown >= 10
    data = MaskNounDataset(data_root=str(folder), ann_file='out.jsonl', data_prefix=dict(img='images'))
    assert [data.get_data_info(row)['noun'] for row in range(len(data))] == [line['noun'] for line in lines]


def test_scores_are_cosines_and_the_best_of_all_masks(tool, folder):
    tool.main(command(folder, '--unit', 'phrases', '--score', '0.6'))
    kept = read(folder / 'out.jsonl')
    tool.main(command(folder, '--unit', 'phrases', out='all.jsonl'))
    lines = read(folder / 'all.jsonl')
    assert kept == [line for line in lines if line['score'] > 0.6]
    assert 0 < len(kept) < len(lines)
    annotations = json.loads((folder / 'masks.json').read_text())['annotations']
    for line in lines:
        own = [one['segmentation'] for one in annotations if f'{one["image_id"]}.png' == line['filename']]
        masks = torch.from_numpy(np.stack([coco_mask.decode(one) for one in own])).bool()
        picture_HW3 = cv2.imread(str(folder / 'images' / line['filename']))[..., ::-1].copy()
        picture = torch.from_numpy(picture_HW3).permute(2, 0, 1)[None]
        region_N3, empty_N = MaskedCrops()(MeanColourTower(), picture, [masks])
        cosines_N = (region_N3 @ ColourEncoder().encode([line['noun']])[0])[~empty_N]
        assert line['score'] == pytest.approx(cosines_N.max().item(), abs=6e-5)


def test_killed_and_shared_runs_end_with_the_same_file(tool, folder, monkeypatch, capsys):
    tool.main(command(folder, out='whole.jsonl'))
    calls = killed(lambda: tool.main(command(folder)), tool, 'pairs', monkeypatch)
    shared_by_two(lambda: tool.main(command(folder)), monkeypatch)
    assert len(calls) == 5 + 5
    assert 'process 2 of 2 is done; 2 of 5 parts are left' in capsys.readouterr().out
    assert (folder / 'out.jsonl').read_bytes() == (folder / 'whole.jsonl').read_bytes()
    with pytest.raises(ConfigError, match=r'parts made with other unit; delete it or change --out'):
        tool.main(command(folder, '--unit', 'phrases'))


def test_one_caption_of_a_picture_is_read(tool, folder):
    images = [dict(id=0, file_name='0.png')]
    annotations = [dict(image_id=0, caption=f'a {noun}') for noun in ('dog', 'cat', 'boat')]
    (folder / 'coco.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    for count in (1, 2):
        out = f'{count}.jsonl'
        tool.main(command(folder, '--captions', str(folder / 'coco.json'), '--captions-each', str(count), out=out))
        assert [line['noun'] for line in read(folder / out)] == ['dog', 'cat'][:count]


@pytest.mark.parametrize('kind', BY_MASKS)
def test_masks_of_a_model(tool, folder, capsys, kind):
    """Padding aside, at the picture's own size, above the threshold."""
    text = SEGMENTOR.replace('DATA', str(folder))
    for theirs, other in BY_MASKS[kind].items():
        assert theirs in text
        text = text.replace(theirs, other)
    (folder / 'model.py').write_text(text)
    picture_HW3 = cv2.imread(str(folder / 'images/0.png'))[..., ::-1].copy()
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        finder = Finder(folder / 'model.py')
        torch.save(finder.model.state_dict(), folder / 'weights.pth')
        logits_Nhw = finder.propose(picture_HW3)
    assert logits_Nhw.shape == (7, 40, 56)
    tool.main(command(folder, '--threshold', '0.4', source=('--segmentor', 'model.py', 'weights.pth')))
    assert '6 with pairs' in capsys.readouterr().out
    found_HW = torch.from_numpy(coco_mask.decode(read(folder / 'out.jsonl')[0]['segmentation'])).bool()
    whole = torch.nn.functional.interpolate(logits_Nhw[None], (SIZE, SIZE), mode='bilinear')[0].sigmoid() > 0.4
    assert any(torch.equal(found_HW, mask_HW) for mask_HW in whole)


def test_what_cannot_be_used_is_said(tool, folder, capsys):
    write_config(folder, 'detector', DETECTOR)
    with pytest.raises(ConfigError, match=r'OVTwoStageDetector makes no masks without names; give a config of'):
        tool.main(command(folder, source=('--segmentor', 'detector.py', 'none')))
    with pytest.raises(MissingFileError, match=r'file of masks .*gone\.json does not exist; correct --masks'):
        tool.main(command(folder, source=('--masks', 'gone.json'), out='a.jsonl'))
    (folder / 'bad.json').write_text('{"images": []}')
    with pytest.raises(DataError, match=r"bad\.json is no file of masks \(KeyError: 'annotations'\)"):
        tool.main(command(folder, source=('--masks', 'bad.json'), out='b.jsonl'))
    content = json.loads((folder / 'masks.json').read_text())
    content['annotations'] = [one for one in content['annotations'] if one['image_id'] != 0]
    content['annotations'][0]['segmentation'] = rle(np.ones((9, 9), bool))
    (folder / 'few.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'few\.json, a mask of 1\.png: the mask is 9 x 9, the picture 64 x 64'):
        tool.main(command(folder, source=('--masks', 'few.json'), out='c.jsonl'))
    tool.main(command(folder, '--damaged', 'report', source=('--masks', 'few.json'), out='d.jsonl'))
    said = '4 with pairs, 3 without a noun, 1 whose picture has no mask, 0 without a mask above the score, 1 whose'
    assert said in capsys.readouterr().out


def test_nouns_that_the_encoder_cannot_read_are_counted(tool, folder, capsys):
    lines = [dict(filename='0.png', caption=caption) for caption in ('an oddity', 'a red box')]
    (folder / 'odd.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    asked = ('--captions', str(folder / 'odd.jsonl'), '--captions-each', '2')
    with pytest.raises(DataError, match=r"0\.png: 'odd' takes too many tokens\. --damaged report leaves"):
        tool.main(command(folder, *asked))
    tool.main(command(folder, *asked, '--damaged', 'report', out='rest.jsonl'))
    assert '1 lines; of 2 captions 1 with pairs' in capsys.readouterr().out
