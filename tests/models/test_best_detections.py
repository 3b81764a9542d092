"""Suppression over many words against mmdet's ``multiclass_nms``, and against torchvision word by word."""

import pytest
import torch
from detection_parts import EMBED_DIM, RandomWords, box_head, build
from mmdet.models.layers import multiclass_nms
from mmengine.config import ConfigDict
from torch import Tensor
from torchvision.ops import nms

from vlm_dense.models import WordRows
from vlm_dense.models.heads.bbox.candidates import best_candidates
from vlm_dense.models.heads.bbox.suppression import best_detections
from vlm_dense.models.heads.bbox.word_parts import WordParts
from vlm_dense.text.vocabulary import Vocabulary

NMS = ConfigDict(type='nms', iou_threshold=0.5)


def boxes(number: int, side: int = 800) -> Tensor:
    """On eighths of a pixel, which mmdet's shifts of up to 1,202 words leave as they are; half of them in pairs."""
    generator = torch.Generator().manual_seed(number)
    corner_N2 = torch.rand(number, 2, generator=generator) * side
    box_N4 = torch.cat([corner_N2, corner_N2 + 20 + torch.rand(number, 2, generator=generator) * 150], dim=1)
    box_N4[number // 2 :] = (
        box_N4[: number - number // 2] + torch.rand(number - number // 2, 4, generator=generator) * 9
    )
    return (box_N4 * 8).round() / 8


def scores(number: int, words: int) -> Tensor:
    logits_NK = 1.5 * torch.randn(number, words + 1, generator=torch.Generator().manual_seed(words))
    return logits_NK.softmax(dim=1)[:, :-1]


def peer(box_N4: Tensor, score_NK: Tensor, threshold: float, config: ConfigDict, wanted: int) -> tuple[Tensor, ...]:
    padded_NK = torch.cat([score_NK, torch.zeros(len(score_NK), 1)], dim=1)
    found_M5, label_M = multiclass_nms(box_N4, padded_NK, threshold, config, wanted)
    return found_M5[:, :4], found_M5[:, 4], label_M


def test_a_large_vocabulary_equals_mmdet_to_the_bit() -> None:
    box_N4, score_NK = boxes(200), scores(200, 1203)
    expected = peer(box_N4, score_NK, 1e-4, NMS, 300)
    found = best_detections(box_N4, score_NK, 1e-4, NMS, 300)
    assert len(found[1]) == 300
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize('wanted', [-1, 5, 40, 1000])
def test_equal_scores_come_in_mmdets_order(wanted: int) -> None:
    box_N4, score_NK = boxes(80), (scores(80, 50) * 200).round() / 200
    assert len(score_NK.unique()) < 80
    expected = peer(box_N4, score_NK, 1e-4, NMS, wanted)
    found = best_detections(box_N4, score_NK, 1e-4, NMS, wanted)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize('kind', [dict(type='soft_nms', min_score=1e-3), dict(type='nms', class_agnostic=True)])
def test_other_suppressions_equal_mmdet(kind: dict) -> None:
    config = ConfigDict(iou_threshold=0.5, **kind)
    box_N4, score_NK = boxes(30), scores(30, 40)
    expected = peer(box_N4, score_NK, 1e-2, config, 100)
    found = best_detections(box_N4, score_NK, 1e-2, config, 100)
    assert len(found[1]) > 5
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_late_words_are_not_rounded() -> None:
    """One box after the other, word by word, without shifts."""
    box_N4 = boxes(60, side=80) + torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) / 8
    score_NK = torch.zeros(60, 13204)
    late = [3, 8000, 13203]
    score_NK[:, late] = 0.1 + scores(60, 3)
    found = best_detections(box_N4, score_NK, 0.05, NMS, -1)
    pairs = [(float(score_NK[row, word]), word) for word in late for row in nms(box_N4, score_NK[:, word], 0.5)]
    expected = sorted(pairs, reverse=True)
    assert 3 < len(expected) < 100
    assert list(zip(found[1].tolist(), found[2].tolist(), strict=True)) == expected


@pytest.mark.parametrize('step', [1, 7, 32, 50])
@pytest.mark.parametrize('wanted', [-1, 3, 40])
def test_words_in_parts_give_the_same(step: int, wanted: int) -> None:
    box_N4, score_NK = boxes(80), (scores(80, 50) * 200).round() / 200
    parts = [(start, score_NK[:, start : start + step]) for start in range(0, 50, step)]
    expected = best_detections(box_N4, score_NK, 1e-4, NMS, wanted)
    found = best_detections(box_N4, parts, 1e-4, NMS, wanted)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_no_more_candidates_than_wanted_and_their_equals() -> None:
    score_NK = scores(100, 50)
    parts = [(start, score_NK[:, start : start + 10]) for start in range(0, 50, 10)]
    found = best_candidates(parts, 1e-4, 30)
    expected_C = score_NK.flatten().topk(30).indices.sort().values
    assert torch.equal(found.region_C * 50 + found.label_C, expected_C)
    assert found.total == int((score_NK > 1e-4).sum())
    assert torch.equal(found.score_C, score_NK.flatten()[expected_C])


@pytest.mark.parametrize('distill', ['none', 'separate'])
@pytest.mark.parametrize('at_once', [1, 60, 10**6])
@torch.no_grad()
def test_scores_in_parts_are_the_scores_of_one_pass(distill: str, at_once: int) -> None:
    head = build(box_head(distill=distill)).eval()
    asked = Vocabulary.from_words([f'word {number}' for number in range(33)])
    words = WordRows(RandomWords()(asked), torch.arange(33) % 2 == 0)
    text_ND = torch.randn(12, EMBED_DIM)
    image_ND = None if distill == 'none' else torch.randn(12, EMBED_DIM)
    parts = list(WordParts(head, text_ND, image_ND, words, at_once))
    assert [start for start, _ in parts] == list(range(0, 33, max(at_once // 12, 1)))
    found_NK = torch.cat([part_Nk for _, part_Nk in parts], dim=1)
    torch.testing.assert_close(found_NK, head.scores(text_ND, image_ND, words), rtol=1e-5, atol=1e-7)
