"""mmdet's GLIP without fusion is the oracle; with fusion it runs on old versions of transformers only."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from bert_parts import WIDTH, tiny_bert
from grounding_parts import scatter_weights, shared_config
from mmdet.models.language_models.bert import BertModel
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from vlm_dense.checkpoints import load_state
from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.models.requests import words_of
from vlm_dense.registry import MODELS
from vlm_dense.text.prompt_packing import caption_prompt
from vlm_dense.text.vocabulary import Vocabulary

LVIS = Vocabulary.from_dataset('lvis_v1').words[:100]
SHORT = Vocabulary.from_words(['cat', 'traffic_light', 'mouse_(computer_equipment)'])
OTHER = Vocabulary.from_words(['wombat', 'dog'])
SIZES = ((64, 96), (70, 50), (64, 96))
CHANNELS = 32


def parts() -> dict[str, Any]:
    """What both detectors are given."""
    return dict(
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[103.5, 116.3, 123.7], std=[57.4, 57.1, 58.4], pad_size_divisor=32
        ),
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3), norm_eval=True),
        neck=dict(
            type='FPN',
            in_channels=[16, 32, 64],
            out_channels=CHANNELS,
            num_outs=5,
            add_extra_convs='on_output',
            relu_before_extra_convs=True,
        ),
    )


def head(kind: str, loss_cls: dict, **more: Any) -> tuple[dict, dict]:
    shared = shared_config(score_thr=0.01, nms_pre=50, max_per_img=1000)
    settings = {name: shared.pop(name) for name in ('train_cfg', 'test_cfg')}
    return dict(type=kind, in_channels=CHANNELS, feat_channels=CHANNELS, loss_cls=loss_cls, **shared, **more), settings


def ours(**changes: Any) -> nn.Module:
    bbox_head, settings = head('vlm_dense.GroundingHead', dict(type='vlm_dense.TokenFocalLoss'), num_blocks=2)
    bbox_head['text'] = dict(width=WIDTH, num_heads=2, intermediate=48)
    bbox_head['early_fuse'] = changes.pop('early_fuse', False)
    bbox_head.update(changes.pop('bbox_head', {}))
    language = dict(type='vlm_dense.TokenLanguageModel', model=str(tiny_bert()))
    config = dict(type='vlm_dense.GroundingDetector', bbox_head=bbox_head, language_model=language, **settings)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(ConfigDict({**config, **parts(), **changes}))
    model.init_weights()
    torch.manual_seed(0)
    scatter_weights(model.bbox_head)
    return model


def theirs(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    focal = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
    folder = str(tiny_bert())
    bbox_head, settings = head('ATSSVLFusionHead', focal, num_classes=80, num_dyhead_blocks=2, lang_model_name=folder)
    config = dict(type='GLIP', bbox_head=bbox_head, language_model=dict(type='BertModel', name=folder), **settings)
    monkeypatch.setattr(BertModel, 'forward', read_captions)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict({**config, **parts()}))


def read_captions(self: Any, captions: list[str]) -> dict:
    """mmdet's own calls a method of the tokenizer that transformers 5 has no more."""
    told = self.tokenizer(list(captions), max_length=256, padding='max_length', truncation=True, return_tensors='pt')
    asked = dict(input_ids=told.input_ids, attention_mask=told.attention_mask, position_ids=None, token_type_ids=None)
    return self.language_backbone(asked)


def batch(vocabularies: list[Vocabulary], **more: Any) -> dict:
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randint(0, 256, (3, *SIZES[n]), generator=generator) for n in range(len(vocabularies))]
    samples = []
    for number, vocabulary in enumerate(vocabularies):
        size = SIZES[number]
        meta = dict(img_id=number, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=dict(meta, vocabulary=vocabulary, **more))
        boxes = torch.tensor([[4.0, 6.0, 40.0, 44.0], [10.0, 20.0, 30.0, 60.0]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0]))
        samples.append(sample)
    return dict(inputs=pictures, data_samples=samples)


def predict(model: nn.Module, asked: dict) -> list[DetDataSample]:
    model.eval()
    with torch.no_grad():
        return model.test_step(copy.deepcopy(asked))


def losses(model: nn.Module, asked: dict) -> dict[str, torch.Tensor]:
    model.train()
    return model(**model.data_preprocessor(copy.deepcopy(asked), True), mode='loss')


def same(one: InstanceData, other: InstanceData, count: int) -> None:
    assert len(one) == len(other) >= count
    order = other.scores.argsort(descending=True, stable=True)
    torch.testing.assert_close(one.scores, other.scores[order], atol=1e-4, rtol=0)
    torch.testing.assert_close(one.bboxes, other.bboxes[order], atol=1e-3, rtol=0)
    assert one.labels.tolist() == other.labels[order].tolist()


def differ(one: InstanceData, other: InstanceData) -> bool:
    return len(one) != len(other) or not torch.allclose(one.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize(('words', 'limit'), [(SHORT.words, None), (LVIS, 40)])
def test_equals_mmdet_in_its_own_weights(
    words: tuple[str, ...], limit: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    oracle = theirs(monkeypatch)
    scatter_weights(oracle.bbox_head)
    torch.save({'state_dict': oracle.state_dict()}, tmp_path / 'glip.pth')
    model = ours()
    coverage = load_state(model, tmp_path / 'glip.pth', strict=True)
    assert coverage.is_complete
    assert coverage.unexpected == ()
    asked = batch([Vocabulary.from_words(words)])
    asked['data_samples'][0].set_metainfo(dict(text=tuple(words), custom_entities=True))
    if limit:
        oracle.test_cfg.chunked_size = model.test_cfg.words_per_prompt = limit
    (found,), (expected,) = predict(model, asked), predict(oracle, asked)
    same(found.pred_instances, expected.pred_instances, 10)
    assert words_of(found) == [words[label] for label in found.pred_instances.labels]


def test_losses_of_different_prompts_equal_mmdet(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle, model = theirs(monkeypatch), ours()
    oracle.load_state_dict(model.state_dict(), strict=True)
    oracle.bbox_head.feat_channels = 256  # mmdet's head writes its targets into so many columns: its window
    asked = batch([SHORT, OTHER])
    expected_of = copy.deepcopy(asked)
    for sample in expected_of['data_samples']:
        sample.set_metainfo(dict(text='. '.join(sample.vocabulary.words)))
    found, expected = losses(model, asked), losses(oracle, expected_of)
    assert set(found) == set(expected)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('early_fuse', [False, True])
def test_a_batch_is_answered_as_its_pictures_alone(early_fuse: bool) -> None:
    model = ours(early_fuse=early_fuse)
    asked = batch([SHORT, OTHER, SHORT])
    together = predict(model, asked)
    for number, found in enumerate(together):
        alone = dict(
            inputs=asked['inputs'][number : number + 1], data_samples=asked['data_samples'][number : number + 1]
        )
        same(found.pred_instances, predict(model, alone)[0].pred_instances, 5)
        assert set(words_of(found)) <= set(found.vocabulary.words)


def test_prompts_are_read_once_for_all_pictures() -> None:
    model = ours()
    runs = []
    model.language_model.language_backbone.body.register_forward_hook(lambda *_: runs.append(1))
    long = Vocabulary.from_words(LVIS)
    model.test_cfg.words_per_prompt = 40
    predict(model, batch([long, SHORT, long]))
    assert len(runs) == 4
    before = predict(model, batch([long, SHORT, long]))
    # Predict switches to eval mode, which forgets: the same call without the switch reads nothing again.
    runs.clear()
    with torch.no_grad():
        after = model.test_step(batch([long, SHORT, long]))
    assert runs == []
    for one, other in zip(before, after, strict=True):
        same(one.pred_instances, other.pred_instances, 5)


def test_positive_maps_are_the_tokens_of_each_object() -> None:
    model = ours()
    ready = model.data_preprocessor(batch([SHORT, OTHER]), True)
    model.train()
    model(**ready, mode='loss')
    tokenizer = model.language_model.tokenizer
    lengths = [len(row) for row in tokenizer.ids(['cat. traffic light. mouse', 'wombat. dog'])]
    first, second = (sample.gt_instances.positive_maps for sample in ready['data_samples'])
    assert first.shape == second.shape == (2, max(lengths))
    # [CLS] cat . traffic light . mouse [SEP], and [CLS] womb ##at . dog [SEP]; labels are 1 and 0.
    assert first.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert second.tolist() == [[0, 0, 0, 0, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0]]


def test_a_box_of_two_phrases_has_the_tokens_of_both() -> None:
    """Flickr30k Entities: 'a man' and 'the rider' are one box, listed once for each."""
    model = ours()
    asked = batch(
        [Vocabulary.from_words(['a man', 'rider'])], prompt=caption_prompt('a man, rider', [[(0, 5)], [(7, 12)]])
    )
    ready = model.data_preprocessor(asked, True)
    truth = ready['data_samples'][0].gt_instances
    apart = [[0, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0]]
    for boxes, expected in ((truth.bboxes, apart), (truth.bboxes[[0, 0]], [[0, 1, 1, 0, 1, 0]] * 2)):
        truth.bboxes = boxes
        model.train()(**ready, mode='loss')
        assert truth.positive_maps.tolist() == expected


def test_a_caption_asks_for_its_phrases() -> None:
    model = ours()
    phrases = Vocabulary.from_words(['a man', 'small dog'])
    prompt = caption_prompt('a man feeds a small dog', [[(0, 5)], [(14, 23)]])
    asked = batch([phrases], prompt=prompt)
    (found,) = predict(model, asked)
    assert set(words_of(found)) == {'a man', 'small dog'}
    plain = predict(model, batch([phrases]))[0].pred_instances
    assert differ(plain, found.pred_instances)
    assert all(loss.isfinite() for loss in losses(model, asked).values())


def test_prompts_that_cannot_be_are_refused() -> None:
    model = ours()
    with pytest.raises(VocabularyError, match=r'100 words take \d+ tokens in one prompt, and 256 fit'):
        losses(model, batch([Vocabulary.from_words(LVIS)]))
    prompt = caption_prompt('a cat', [[(0, 5)]])
    with pytest.raises(VocabularyError, match="an object 'traffic_light' which its prompt does not ask for"):
        losses(model, batch([SHORT], prompt=prompt))
    with pytest.raises(VocabularyError, match='asks for row 2, but its vocabulary has 2 words'):
        predict(model, batch([OTHER], prompt=caption_prompt('a cat', [[(0, 1)], [(2, 5)], [(0, 5)]])))
    for ask in (losses, predict):
        with pytest.raises(VocabularyError, match="the prompt 'is it' of a sample asks for no word"):
            ask(model, batch([OTHER], prompt=caption_prompt('is it', [])))
    nameless = batch([SHORT])
    del nameless['data_samples'][0].vocabulary
    with pytest.raises(ConfigError, match='carries no vocabulary'):
        predict(model, nameless)


def test_descriptions_change_what_is_read_not_what_comes_back() -> None:
    asked = batch([OTHER])
    plain = ours()
    described = ours(described=dict(wombat=dict(suffix=' which digs'), puffin=dict(suffix=' with orange beak')))
    described.load_state_dict(plain.state_dict())
    (one,), (other,) = predict(plain, asked), predict(described, asked)
    assert set(words_of(one)) == set(words_of(other)) == {'wombat', 'dog'}
    assert differ(one.pred_instances, other.pred_instances)
