"""Words at mask heads: they come with the call, unseen ones teach nothing, and any truth can be learned from."""

import pytest
import torch
from mask_head_parts import (
    HEAD_KINDS,
    QUERIES,
    SIZE,
    classifier,
    features,
    gradients_reach_everything,
    label_maps,
    mask2former,
    mask_former,
    truths,
    words,
)
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.hub import get_config
from mmengine.structures import InstanceData
from torch.nn.functional import normalize
from torch.testing import assert_close

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models import WordRows
from vlm_dense.models.heads.mask import segments_of_labels
from vlm_dense.models.requests import NameRows

POOLED = dict(num_layers=3, pooled=True)
BOTH = pytest.mark.parametrize('build', HEAD_KINDS.values(), ids=HEAD_KINDS)


def seeded_loss(head: torch.nn.Module, maps: list, truth: list, request: WordRows) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return head.loss(maps, truth, request, SIZE)


@BOTH
def test_permuted_words_permute_logits_and_leave_masks_and_losses(build) -> None:
    head, maps, request = (
        build(classifier=classifier(background='learned'), query_embedding=POOLED),
        features(),
        words(6),
    )
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = WordRows(request.text_KD[order], request.is_base_K[order])
    found = head.segments(maps, SIZE)
    scores_BNS, shuffled_BNS = (head.logits(found.embed_BND, rows) for rows in (request, shuffled))
    assert scores_BNS.shape == (2, QUERIES, 6 + 2)
    assert_close(shuffled_BNS[..., :6], scores_BNS[..., order])
    assert_close(shuffled_BNS[..., 6:], scores_BNS[..., 6:])
    moved = [InstanceData(labels=order.argsort()[truth.labels], masks=truth.masks) for truth in truths(6)]
    losses = seeded_loss(head, maps, truths(6), request)
    for name, value in seeded_loss(head, maps, moved, shuffled).items():
        assert_close(value, losses[name])


@BOTH
def test_any_number_of_words_call_after_call(build) -> None:
    head, maps = build(), features()
    few, many = words(4), words(50)
    first = seeded_loss(head, maps, truths(4), few)
    settings = set(vars(head))
    assert seeded_loss(head, maps, truths(50), many)['loss_cls'] != first['loss_cls']
    assert set(vars(head)) == settings
    assert not {'num_classes', 'class_weight'} & set(dir(head))
    again = seeded_loss(head, maps, truths(4), few)
    assert all(torch.equal(again[name], value) for name, value in first.items())
    embed_BND = head.segments(maps, SIZE).embed_BND
    assert [head.logits(embed_BND, request).shape[-1] for request in (few, many)] == [5, 51]


@BOTH
def test_pixels_may_move_between_unseen_words_without_changing_a_loss(build) -> None:
    head, maps, request = build(), features(), words(6, [True, True, True, False, False, False])
    labels_BHW = label_maps(3)
    labels_BHW[:, 30:, 20:50] = 3
    changed_BHW = labels_BHW.clone()
    changed_BHW[:, 40:, 20:50] = 5
    ignored_BHW = labels_BHW.clone()
    ignored_BHW[labels_BHW == 3] = 255
    seen_BHW = labels_BHW.clone()
    seen_BHW[:, 40:, 20:50] = 2

    def total(maps_BHW: torch.Tensor) -> torch.Tensor:
        truth = [segments_of_labels(label_HW, 255) for label_HW in maps_BHW]
        return torch.cat([value.reshape(1) for value in seeded_loss(head, maps, truth, request).values()])

    expected = total(labels_BHW)
    assert torch.equal(total(changed_BHW), expected)
    assert torch.equal(total(ignored_BHW), expected)
    assert not torch.equal(total(seen_BHW), expected)


@BOTH
def test_label_K_is_the_background_where_there_is_one_and_else_no_mask(build) -> None:
    maps, request = features(), words(4)
    with_K = [segments_of_labels(torch.where(label_HW == 255, 4, label_HW), 255) for label_HW in label_maps(4)]
    plain = build()
    expected = seeded_loss(plain, maps, truths(4), request)
    assert all(torch.equal(value, expected[name]) for name, value in seeded_loss(plain, maps, with_K, request).items())
    named = build(classifier=classifier(background='learned'))
    weights = named.state_dict()
    background_1D, void_1D = weights['classifier.extra.learned_ED'].split(1)
    plain.load_state_dict({**weights, 'classifier.extra.learned_ED': void_1D})
    one_more = WordRows(torch.cat([request.text_KD, normalize(background_1D)]), torch.ones(5, dtype=torch.bool))
    expected = seeded_loss(plain, maps, with_K, one_more)
    for name, value in seeded_loss(named, maps, with_K, request).items():
        assert_close(value, expected[name])
    gradients_reach_everything(named, seeded_loss(named, maps, with_K, request))


@BOTH
@pytest.mark.parametrize('void', ['learned', 'learned_raw'])
@pytest.mark.parametrize('without', ['one', 'all'])
def test_pictures_without_a_segment_train_every_parameter(build, void: str, without: str) -> None:
    changes = dict(classifier=classifier(void=void, temperature=0.07, learn_scale=True), query_embedding=POOLED)
    head, maps = build(**changes), features()
    truth = truths(5)
    empty = [segments_of_labels(torch.full(SIZE, 255), 255) for _ in truth]
    truth = [empty[0], truth[1]] if without == 'one' else empty
    losses = head.loss(maps, truth, words(5), SIZE)
    gradients_reach_everything(head, losses)
    assert head.classifier.extra.learned_ED.grad.abs().sum() > 0
    assert all(layer.grad.abs().sum() > 0 for layer in head.cls_embed.parameters())
    if without == 'all':
        assert losses['loss_mask'] == losses['loss_dice'] == 0


@BOTH
def test_half_precision_is_finite_and_close(build) -> None:
    head, maps, request = build(query_embedding=POOLED, classifier=classifier(temperature=1.0)), features(), words(5)
    expected = seeded_loss(head, maps, truths(5), request)
    with torch.autocast('cpu', torch.bfloat16):
        losses = seeded_loss(head, maps, truths(5), request)
        embed_BND = head.segments(maps, SIZE).embed_BND
        assert head.logits(embed_BND, request).dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in losses.values())
    gradients_reach_everything(head, losses)
    assert_close(losses['loss_cls'], expected['loss_cls'], rtol=0.1, atol=0.1)


def test_void_weight_weighs_queries_without_a_segment() -> None:
    """(A + w B) / (G + w M) with A and B the cross entropies of G matched and M other queries."""
    head, maps, request = mask_former(), features(), words(5)
    matched = sum(len(truth.labels) for truth in truths(5))
    others = 2 * QUERIES - matched

    def loss(void_weight: float) -> torch.Tensor:
        head.void_weight = void_weight
        return head.loss(maps, truths(5), request, SIZE)['loss_cls']

    of_matched = loss(0.0) * matched
    of_others = loss(1.0) * (matched + others) - of_matched
    assert_close(loss(0.3), (of_matched + 0.3 * of_others) / (matched + 0.3 * others), rtol=1e-4, atol=1e-5)


PUBLISHED = {
    'mask_former': 'mmdet::maskformer/maskformer_r50_ms-16xb1-75e_coco.py',
    'mask2former': 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
}


@pytest.mark.parametrize('kind', HEAD_KINDS)
def test_losses_and_matching_are_those_of_mmdets_configs_where_nothing_is_said(kind: str) -> None:
    head = HEAD_KINDS[kind](train_cfg=None)
    published = get_config(PUBLISHED[kind]).model
    for name in ('loss_cls', 'loss_mask', 'loss_dice'):
        config = published.panoptic_head[name]
        *weights, void_weight = config.pop('class_weight', [head.void_weight])
        assert void_weight == head.void_weight
        assert set(weights) <= {1.0}
        theirs, ours = MODELS.build(config), getattr(head, name)
        assert type(ours) is type(theirs)
        assert settings_of(ours) == settings_of(theirs)
    pairs = zip(head.assigner.match_costs, TASK_UTILS.build(published.train_cfg.assigner).match_costs, strict=True)
    assert all(type(ours) is type(theirs) and vars(ours) == vars(theirs) for ours, theirs in pairs)
    points = ('num_points', 'oversample_ratio', 'importance_sample_ratio')
    assert [getattr(head, name, None) for name in points] == [published.train_cfg.get(name) for name in points]


def settings_of(loss: torch.nn.Module) -> dict:
    return {name: value for name, value in vars(loss).items() if not name.startswith('_')}


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (dict(classifier=classifier(void=None)), 'void'),
        (dict(loss_cls=dict(type='mmdet.CrossEntropyLoss', class_weight=[1.0, 0.1])), 'void_weight'),
        (dict(query_embedding=dict(layers=2)), 'num_layers'),
        (dict(query_embedding=dict(num_layers=0)), 'num_layers'),
    ],
)
def test_wrong_settings_are_named(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        mask2former(**changes)


@BOTH
def test_silenced_words_are_silenced_under_all_their_names(build) -> None:
    head = build(classifier=classifier(novel='zero_logit')).train()
    names_SD, word_of_S, is_base = words(5).text_KD, torch.tensor([0, 1, 1, 2, 2]), [True, True, False]
    embed_BND = torch.randn(2, QUERIES, names_SD.shape[1])
    found = head.logits(embed_BND, NameRows(names_SD, torch.tensor(is_base), word_of_S))
    names_BNS = normalize(embed_BND, dim=2) @ names_SD.t() / 0.01
    best_BNK = [names_BNS[..., word_of_S == word].amax(dim=2) * flag for word, flag in enumerate(is_base)]
    assert_close(found[..., :3], torch.stack(best_BNK, dim=2))


@pytest.mark.parametrize('label', [-1, 6])
def test_labels_beyond_the_words_are_refused(label: int) -> None:
    truth = InstanceData(labels=torch.tensor([label]), masks=torch.ones(1, *SIZE, dtype=torch.bool))
    with pytest.raises(DataError, match=f'label {label}, but the request has 5 words'):
        mask_former().loss(features(1), [truth], words(5), SIZE)
