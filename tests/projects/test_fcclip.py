"""FC-CLIP: the whole chain by the paper's formulas, its constants, and its full-size recipes, shrunk."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from PIL import Image
from recipe_data import write_panoptic_data
from recipe_parts import NamesBank
from recipes import CONFIGS, SIDE, tiny_recipe
from torch import Tensor, nn

from vlm_dense.checkpoints import load_state
from vlm_dense.engine.protocol_runs import set_protocol
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

FULL_SIZE = ['fcclip_convnext_l_coco.py', 'fcclip_rn50_coco.py', 'fcclip_convnext_l_cityscapes.py']
WORDS = Vocabulary.from_words(
    ['person', 'sky', 'wombat', 'rock-merged'],
    base=['person', 'sky'],
    synonyms=[['child', 'girl'], [], ['pouched animal'], ['stone', 'rocks']],
    is_thing=[True, False, True, False],
)
SIZE, ORIGINAL = (90, 120), (70, 101)
CLOSE = dict(rtol=1e-4, atol=1e-5)


def tiny(name: str = FULL_SIZE[0], **changes: Any) -> nn.Module:
    """A shrunk model with weights far from ones and zeros."""
    torch.manual_seed(0)
    config = tiny_recipe(name, Path())
    config.model.mask_head.num_queries = 60
    config.model.update(changes)
    model = MODELS.build(config.model)
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model.eval()


@torch.no_grad()
def answer(model: nn.Module) -> tuple[DetDataSample, Tensor]:
    """What a model says about a picture, and the normalised picture with its padding."""
    torch.manual_seed(0)
    coarse = torch.randint(0, 256, (1, 3, 6, 8)).float()
    picture = F.interpolate(coarse, SIZE, mode='bicubic').clamp(0, 255).to(torch.uint8)[0]
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, ori_shape=ORIGINAL, vocabulary=WORDS))
    ready = model.data_preprocessor(dict(inputs=[picture], data_samples=[sample]), False)
    images_B3HW = ready['inputs']
    assert images_B3HW.shape[2:] == (96, 128)
    return model.predict(images_B3HW, ready['data_samples'])[0], images_B3HW


def best_of_names(logit_NS: Tensor) -> Tensor:
    starts = np.cumsum([0, *(len(WORDS.names(row)) for row in range(len(WORDS)))])
    return torch.stack([logit_NS[:, i:j].amax(1) for i, j in pairwise(starts)], dim=1)


def by_hand(model: nn.Module, images: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """The formulas from pixels to probabilities (N, K + 1), void last, and mask logits (N, h, w)."""
    text_SD, _ = NamesBank().rows_of_names(WORDS)
    head, caught = model.mask_head, {}
    hook = head.cls_embed.register_forward_pre_hook(lambda _, inputs: caught.update(inputs=inputs))
    visual = open_clip.create_model(model.backbone.tower._source.name).visual.eval()
    visual.load_state_dict(model.backbone.tower.visual.state_dict())
    maps = [visual.trunk.stem(images)]
    for stage in visual.trunk.stages:
        maps.append(stage(maps[-1]))
    head.segments(maps[1:], images.shape[2:])
    hook.remove()
    (query,), (mask,), (feature,) = caught['inputs']

    def pooled(map_Chw: Tensor) -> Tensor:
        logit_Nhw = F.interpolate(mask[None], map_Chw.shape[1:], mode='bilinear')[0]
        hard_Nhw = (logit_Nhw > 0).float()
        return torch.einsum('chw,nhw->nc', map_Chw, hard_Nhw) / (hard_Nhw.sum((1, 2))[:, None] + 1e-8)

    norm, linear = head.cls_embed.pooled
    x = query + F.linear(F.layer_norm(pooled(feature), (32,), norm.weight, norm.bias), linear.weight, linear.bias)
    for layer in (0, 2, 4):
        x = F.linear(x.relu() if layer else x, head.cls_embed.layers[layer].weight, head.cls_embed.layers[layer].bias)
    own_ND = F.normalize(x, dim=1)
    scale = head.classifier.scale.log.exp().clamp(max=100)
    void_N1 = scale * own_ND @ F.normalize(head.classifier.extra.learned_ED, dim=1).T
    in_NK = best_of_names(scale * own_ND @ text_SD.T)
    region = visual.head(visual.trunk.head(pooled(visual.trunk.norm_pre(maps[-1])[0])[..., None, None]))
    out_NK = best_of_names(100 * F.normalize(region, dim=1) @ text_SD.T)
    a, c, seen = in_NK.softmax(1), out_NK.softmax(1), torch.tensor(WORDS.is_base).float()
    logs = (a ** (1 - alpha) * c**alpha).log() * seen + (a ** (1 - beta) * c**beta).log() * (1 - seen)
    void = torch.cat([in_NK, void_N1], 1).softmax(1)[:, -1:]
    p = torch.cat([logs.softmax(1) * (1 - void), void], 1)
    return (p + 1e-8).log().softmax(1), mask


def enlarged(mask: Tensor, padded: torch.Size) -> Tensor:
    """Logits at the picture's own size."""
    mask = F.interpolate(mask[None], padded, mode='bilinear')[..., : SIZE[0], : SIZE[1]]
    return F.interpolate(mask, ORIGINAL, mode='bilinear')[0]


def panoptic_by_hand(p: Tensor, logit: Tensor) -> Tensor:
    score, label = p.max(1)
    keep = (label != len(WORDS)) & (score > 0)
    score, label, soft = score[keep], label[keep], logit[keep].sigmoid()
    winner = (score[:, None, None] * soft).argmax(0)
    found, things = torch.full(ORIGINAL, len(WORDS)), 0
    for k, word in enumerate(label.tolist()):
        won, inside = winner == k, soft[k] >= 0.5
        if (won & inside).sum() and won.sum() / inside.sum() >= 0.8:
            things += WORDS.is_thing[word]
            found[won & inside] = word + (1000 * things if WORDS.is_thing[word] else 0)
    return found


@torch.no_grad()
def test_the_whole_chain_equals_the_papers_formulas() -> None:
    model = tiny()
    model.test_cfg.update(max_per_image=120)
    found, images = answer(model)
    p, mask = by_hand(model, images, alpha=0.4, beta=0.8)
    cells = F.interpolate(mask[None], (3, 4), mode='bilinear')[0] > 0
    assert 0 < cells.flatten(1).any(1).sum() < len(mask), 'some masks fill a cell, others none'
    logit = enlarged(mask, images.shape[2:])
    scores_KHW = torch.einsum('nk,nhw->khw', p[:, :-1], logit.sigmoid())
    labels = found.pred_sem_seg.data[0]
    assert len(labels.unique()) > 1
    torch.testing.assert_close(scores_KHW.gather(0, labels[None])[0], scores_KHW.amax(0), **CLOSE)
    panoptic = found.pred_panoptic_seg.sem_seg[0]
    assert len(panoptic.unique()) > 2
    assert (panoptic != panoptic_by_hand(p, logit)).float().mean() < 1e-3
    value, pair = p[:, :-1].flatten().topk(120)
    rows, label = pair // len(WORDS), pair % len(WORDS)
    inside = logit[rows] > 0
    quality = (logit[rows].sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    is_thing = torch.tensor(WORDS.is_thing)[label]
    assert is_thing.any()
    score, order = (value * quality)[is_thing].sort(descending=True, stable=True)
    torch.testing.assert_close(found.pred_instances.scores, score, **CLOSE)
    assert torch.equal(found.pred_instances.labels, label[is_thing][order])
    assert (found.pred_instances.masks != inside[is_thing][order]).float().mean() < 1e-3


@torch.no_grad()
def test_without_powers_the_mask_head_alone_decides() -> None:
    fusion = dict(type='vlm_dense.ScoreFusion', base_power=0.0, novel_power=0.0, void='factor')
    models = tiny(fusion=fusion), tiny(regions=None, fusion=None), tiny()
    (one, images), (other, _), _ = map(answer, models)
    assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
    asked = models[0].asked_words(WORDS, torch.device('cpu'))
    without, alone, usual = (model.name_masks(model.mask_head, images, asked, [SIZE]).score_BNK[0] for model in models)
    p, _ = by_hand(models[0], images, alpha=0.0, beta=0.0)
    torch.testing.assert_close(without, p[:, :-1], **CLOSE)
    torch.testing.assert_close(without, alone, **CLOSE)
    assert not torch.allclose(without, usual, atol=0.01)


@pytest.mark.parametrize('name', FULL_SIZE[:2])
def test_all_but_the_tower_learns(name: str, tmp_path: Path) -> None:
    write_panoptic_data(tmp_path)
    config = tiny_recipe(name, tmp_path)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    model = MODELS.build(config.model)
    model.init_weights()
    model.train()
    assert not any(part.training for part in model.backbone.tower.modules())
    learned = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    parts = {key.split('.')[1] for key in learned if key.startswith('mask_head.')}
    decoder = {'pixel_decoder', 'transformer_decoder', 'query_embed', 'query_feat', 'level_embed'}
    assert parts == decoder | {'mask_embed', 'cls_embed', 'classifier'}
    assert 'mask_head.classifier.extra.learned_ED' in learned
    kept = set(model.state_dict()) - {'backbone.tower_sha256'}
    assert kept == learned
    before = {key: value.clone() for key, value in model.named_parameters()}
    batch = pseudo_collate([dataset[0], dataset[1]])
    total, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    total.backward()
    assert {key for key, parameter in model.named_parameters() if parameter.grad is not None} == learned
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    changed = {key for key, value in model.named_parameters() if not torch.equal(before[key], value)}
    assert changed <= learned
    assert 'mask_head.classifier.scale.log' in changed


def test_embeddings_and_norms_do_not_decay() -> None:
    config = tiny_recipe(FULL_SIZE[0], Path())
    model = MODELS.build(config.model)
    config.optim_wrapper.type = 'OptimWrapper'  # that of the recipe refuses CPUs
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    spared = {names[id(p)] for group in groups for p in group['params'] if group['weight_decay'] == 0}
    norms = {
        f'{key}.{part}'
        for key, module in model.mask_head.named_modules(prefix='mask_head')
        if isinstance(module, nn.GroupNorm | nn.LayerNorm)
        for part in ('weight', 'bias')
    }
    rows = {'query_embed.weight', 'query_feat.weight', 'level_embed.weight', 'classifier.extra.learned_ED'}
    learned = {names[id(p)] for group in groups for p in group['params'] if p.requires_grad}
    assert spared & learned == norms | {f'mask_head.{row}' for row in rows}


@pytest.mark.parametrize('name', FULL_SIZE)
def test_constants_of_the_release(name: str) -> None:
    config = Config.fromfile(CONFIGS / name)
    model, head = config.model, config.model.mask_head
    clip = ('RN50-quickgelu', 'openai') if 'rn50' in name else ('convnext_large_d_320', 'laion2b_s29b_b131k_ft_soup')
    for part in (model.backbone.tower, model.text_bank.encoder):
        assert (part.name, part.pretrained) == clip
    assert head.classifier.embed_dim == (1024 if 'rn50' in name else 768)
    assert (head.num_queries, head.feat_channels, head.out_channels, head.void_weight) == (250, 256, 256, 0.1)
    assert (head.pixel_decoder.encoder.num_layers, head.transformer_decoder.num_layers) == (6, 9)
    assert (model.fusion.base_power, model.fusion.novel_power, model.fusion.void) == (0.4, 0.8, 'factor')
    assert (model.fusion.empty, model.regions.empty) == (('own', 'picture') if 'rn50' in name else ('keep', 'zeros'))
    test = model.test_cfg
    assert (test.object_mask_thr, test.iou_thr, test.filter_low_score, test.max_per_image) == (0.0, 0.8, True, 100)
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
    assert config.optim_wrapper.clip_grad.max_norm == 0.01
    assert (config.train_cfg.max_iters, config.param_scheduler.milestones) == (368_750, [327_778, 355_092])
    assert 8 * config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size == 16
    size = (2560, 1024) if 'cityscapes' in name else (1333, 800)
    assert config.test_dataloader.dataset.pipeline[1].scale == size


@pytest.mark.parametrize('protocol', [None, 'ade20k_panoptic', 'ade20k_instance', 'cityscapes19'])
def test_weights_from_coco_serve_every_variant(protocol: str | None, tmp_path: Path) -> None:
    trained = tiny(FULL_SIZE[0])
    weights = tmp_path / 'coco.pth'
    torch.save({'state_dict': trained.state_dict()}, weights)
    for name in (FULL_SIZE[0], FULL_SIZE[2]):
        config = tiny_recipe(name, tmp_path)
        if protocol is not None:
            set_protocol(config, find_protocol(protocol), out=str(tmp_path))
        config.model.test_cfg = dict(trained.test_cfg)
        config.model.mask_head.num_queries = trained.mask_head.num_queries
        model = MODELS.build(config.model)
        model.backbone.tower.load_state_dict(trained.backbone.tower.state_dict())
        load_state(model, weights, strict=True)
        (found, _), (expected, _) = answer(model.eval()), answer(trained)
        assert torch.equal(found.pred_panoptic_seg.sem_seg, expected.pred_panoptic_seg.sem_seg)


def test_segments_of_the_data_set_are_words_by_name(tmp_path: Path) -> None:
    """The categories of the file stand in another order, and with them nothing changes but their places."""
    write_panoptic_data(tmp_path)
    config = tiny_recipe(FULL_SIZE[0], tmp_path)
    settings = dict(config.train_dataloader.dataset, pipeline=config.train_dataloader.dataset.pipeline[:2])
    path = tmp_path / 'data/coco/annotations/panoptic_train2017.json'
    usual = DATASETS.build(settings)[0]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'categories': content['categories'][::-1]}))
    found = DATASETS.build(settings)[0]
    words = Vocabulary.from_dataset('coco_panoptic')
    truth = np.asarray(Image.open(path.parent / 'panoptic_train2017' / '0.png')).astype(int) @ [1, 256, 65536]
    for one in (usual, found):
        assert one['gt_bboxes_labels'].tolist() == [0]
        assert np.array_equal(one['gt_masks'].masks[0] > 0, truth == 300)
        expected = np.full((SIDE, SIDE), 255)
        for key, word in ((300, 0), (70_000, 0), (5, 99), (90_001, 132)):
            expected[truth == key] = words.index(words.words[word])
        assert np.array_equal(one['gt_seg_map'], expected)
        assert one['gt_seg_map'].dtype == np.uint8
    base_only = {**settings, 'vocabulary': dict(dataset='coco_panoptic', base=['person']), 'objects': 'base'}
    found = DATASETS.build(base_only)[0]
    assert np.array_equal(np.unique(found['gt_seg_map']), [0, 255])


def test_a_list_of_names_becomes_words_as_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = (CONFIGS.parent / 'projects/fcclip/README.md').read_text().split('```python')
    (script,) = (block.split('```')[0] for block in code if 'LIST.txt' in block)
    rows = ['0:invalid_class_id', '1:person, child,child', '2:pot (odd)', *(f'{k}:pot,name {k}' for k in range(3, 134))]
    Path('LIST.txt').write_text('\n'.join(rows))
    exec(script, {})
    words = Vocabulary.build(dict(file='words.json', seen_in=dict(file='words.json')))
    own = Vocabulary.from_dataset('coco_panoptic')
    assert (words.words, words.is_thing, set(words.is_base)) == (own.words, own.is_thing, {True})
    assert [words.names(k) for k in (0, 1)] == [('person', 'child'), ('bicycle', 'pot (odd)')]
    assert words.names(132) == ('rug-merged', 'pot', 'name 133')
