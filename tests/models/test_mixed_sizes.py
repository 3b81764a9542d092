"""Pictures of a mixed batch are answered as if each came alone, to 1e-4; the padding may hold anything."""

import pytest
import torch
from detection_parts import build as build_detector
from detection_parts import model_config, sample, vocabulary
from mmseg.structures import SegDataSample
from recipe_parts import HashedBank, tiny_clip_resnet, tiny_clip_vit  # noqa: F401  registers the bank

from vlm_dense.models.sizes import by_size
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

# 481 x 777 and its like, shrunk: no multiple of a stride, one cell tall, portrait, ordinary.
SIZES = ((97, 157), (33, 200), (200, 70), (96, 96), (97, 157))
WORDS = Vocabulary.from_words(['ant', 'bee', 'cat'])
CLOSE = dict(rtol=1e-4, atol=1e-4)


def pictures() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in SIZES]


def test_groups_hold_every_picture_once() -> None:
    given = pictures()
    found = {}
    for rows, images in by_size(given):
        found.update(zip(rows, images, strict=True))
    assert sorted(found) == list(range(len(given)))
    assert all(torch.equal(found[row], picture) for row, picture in enumerate(given))
    assert [rows for rows, _ in by_size(given)] == [[0, 4], [1], [2], [3]]
    assert list(by_size([])) == []


def segmentor(backbone: dict, head: dict) -> torch.nn.Module:
    model = MODELS.build(
        dict(
            type='vlm_dense.OVEncoderDecoder',
            data_preprocessor=dict(
                type='mmseg.SegDataPreProcessor',
                mean=[127.5] * 3,
                std=[127.5] * 3,
                size_divisor=32,
            ),
            backbone=backbone,
            decode_head=head,
            text_bank=dict(type='vlm_dense.HashedBank'),
            test_cfg=dict(mode='whole', keep_scores=True),
        )
    )
    return model.eval()


def tower(name: str, **settings: object) -> dict:
    return dict(type='vlm_dense.OpenClipTower', name=name, **settings)


def segmentors() -> dict[str, torch.nn.Module]:
    dense = dict(type='vlm_dense.DenseMapHead', logit_scale=40)
    classifier = dict(type='vlm_dense.EmbeddingClassifier', embed_dim=512, temperature=0.07, background=None)
    pyramid = dict(
        type='vlm_dense.PyramidPixelHead',
        in_channels=(64, 128, 256, 512),
        channels=8,
        embed_dim=512,
        classifier=classifier,
    )
    vit, resnet = tiny_clip_vit(blocks=3), tiny_clip_resnet()
    return {
        'vit-plain': segmentor(dict(type='vlm_dense.DenseBackbone', tower=tower(vit)), dense),
        'vit-qq': segmentor(dict(type='vlm_dense.DenseBackbone', tower=tower(vit, readout='qq')), dense),
        'resnet-plain': segmentor(dict(type='vlm_dense.DenseBackbone', tower=tower(resnet, readout='plain')), dense),
        'resnet-pyramid': segmentor(dict(type='vlm_dense.TowerBackbone', tower=tower(resnet)), pyramid),
    }


def ask(model: torch.nn.Module, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    samples = [SegDataSample(metainfo=dict(ori_shape=tuple(i.shape[1:]), vocabulary=WORDS)) for i in inputs]
    # In testing mode mmseg refuses mixed sizes; the padding is the same.
    ready = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    with torch.no_grad():
        return [found.seg_logits.data for found in model.predict(**ready)]


@pytest.mark.parametrize('kind', ['vit-plain', 'vit-qq', 'resnet-plain', 'resnet-pyramid'])
def test_segmentors_answer_each_picture_as_if_alone(kind: str) -> None:
    torch.manual_seed(0)
    model = segmentors()[kind]
    given = pictures()
    for picture, found in zip(given, ask(model, given), strict=True):
        assert found.shape == (3, *picture.shape[1:])
        torch.testing.assert_close(found, ask(model, [picture])[0], **CLOSE)


def test_padding_of_segmentors_may_hold_anything() -> None:
    model = segmentors()['vit-plain']
    picture = pictures()[0]
    expected = ask(model, [picture])[0]
    for value in (-3.0, 5.0):
        padded = torch.full((1, 3, 128, 192), value)
        padded[0, :, :97, :157] = model.data_preprocessor(
            dict(inputs=[picture], data_samples=[SegDataSample()]), False
        )['inputs'][0, :, :97, :157]
        sample = SegDataSample(metainfo=dict(ori_shape=(97, 157), img_padding_size=(0, 35, 0, 31), vocabulary=WORDS))
        with torch.no_grad():
            found = model.predict(padded, [sample])[0].seg_logits.data
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize('backbone', ['ResNet', 'OpenClipTower'])
def test_detectors_answer_each_picture_as_if_alone(backbone: str) -> None:
    torch.manual_seed(0)
    config = model_config(branches={}, distill='none')
    if backbone == 'OpenClipTower':
        config['backbone'] = dict(type='vlm_dense.TowerBackbone', tower=tower(tiny_clip_resnet()))
        config['neck']['in_channels'] = [64, 128, 256, 512]
    model = build_detector(config).eval()
    given = pictures()
    alone = [detect(model, [picture])[0] for picture in given]
    for found, expected in zip(detect(model, given), alone, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


def detect(model: torch.nn.Module, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    samples = []
    for number, picture in enumerate(inputs):
        found = sample(vocabulary(), number)
        found.set_metainfo(dict(img_shape=tuple(picture.shape[1:]), ori_shape=tuple(picture.shape[1:])))
        samples.append(found)
    with torch.no_grad():
        results = model.test_step(dict(inputs=inputs, data_samples=samples))
    return [torch.cat([r.pred_instances.bboxes, r.pred_instances.scores[:, None]], dim=1) for r in results]


def test_the_full_size_example() -> None:
    """481 x 777, on the tower that ships with its weights."""
    tower = MODELS.build(dict(type='vlm_dense.ImageNetTower', output_stride=16)).eval()
    picture = torch.randn(1, 3, 481, 777, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cells_BDhw = tower.embed_dense(picture)
    assert cells_BDhw.shape == (1, 1280, 31, 49)
    assert cells_BDhw.isfinite().all()
