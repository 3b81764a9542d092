"""What a grounding detector can learn beside its boxes: words of other pictures, and words that are hidden."""

import copy
from typing import Any

import pytest
import torch
from bert_parts import WIDTH, tiny_bert
from gloo_parts import in_joined_processes
from mmengine.structures import InstanceData
from test_grounding_detector import CHANNELS, OTHER, SHORT, batch, losses, ours
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize
from transformers import BertTokenizerFast

from vlm_dense.errors import ConfigError
from vlm_dense.models.losses.text_keys import NO_KEY
from vlm_dense.text.prompt_packing import caption_prompt
from vlm_dense.text.vocabulary import Vocabulary

CONTRAST = dict(type='vlm_dense.InterImageContrast', region_width=CHANNELS, text_width=WIDTH, width=8, max_regions=999)
HIDDEN = dict(type='vlm_dense.MaskedWords', width=WIDTH)
DOG, CAT = Vocabulary.from_words(['dog', 'traffic_light']), Vocabulary.from_words(['cat', 'dog'])
CAPTION = 'a man holds a dog.'


def switched(early_fuse: bool = True, **hidden: Any) -> nn.Module:
    torch.manual_seed(5)
    model = ours(
        early_fuse=early_fuse,
        bbox_head=dict(aux_losses=dict(contrast=CONTRAST), fusion=dict(dropout=0.0)),
        masked_words={**HIDDEN, **hidden},
    )
    return model


def asked(kinds: str) -> dict:
    """A picture per letter: d and c are lists of names, p a caption with the phrases 'a man' and 'dog'."""
    found = batch([dict(d=DOG, c=CAT, p=Vocabulary.from_words(['a man', 'dog']))[kind] for kind in kinds])
    for number, kind in enumerate(kinds):
        found['inputs'][number] = found['inputs'][number][:, :48, :48]
        sample = found['data_samples'][number]
        sample.set_metainfo(dict(img_shape=(48, 48), ori_shape=(48, 48)))
        boxes = torch.tensor([[4.0, 6.0, 40.0, 44.0], [10.0, 20.0, 30.0, 46.0]]) - number
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0]))
        if kind == 'p':
            sample.set_metainfo(dict(prompt=caption_prompt(CAPTION, [[(0, 5)], [(14, 17)]])))
    return found


def contrast_arguments(model: nn.Module, kinds: str) -> tuple:
    """What the contrast is called with."""
    seen: list = []
    handle = model.bbox_head.aux_losses.contrast.register_forward_pre_hook(lambda _, args: seen.append(args))
    losses(model, asked(kinds))
    handle.remove()
    return seen[0]


def reached(loss: Tensor, model: nn.Module) -> set[str]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return {name for name, one in zip(names, gradients, strict=True) if one is not None and one.any()}


def test_switched_off_nothing_is_in_the_weights() -> None:
    plain, both = set(ours(early_fuse=True).state_dict()), set(switched().state_dict())
    assert plain < both
    assert all(name.startswith(('masked_words.', 'bbox_head.aux_losses.contrast.')) for name in both - plain)
    assert not any('embeddings' in name for name in both - plain), 'the embedding is that of the tower'


@pytest.mark.parametrize('early_fuse', [True, False])
def test_both_losses_teach_the_towers(early_fuse: bool) -> None:
    model = switched(early_fuse, rate=1.0)
    found = losses(model, asked('dp'))
    assert {'masked_words.loss_mlm', 'contrast.loss'} < set(found)
    total, _ = model.parse_losses(found)
    assert total.item() == pytest.approx(sum(loss.sum().item() for loss in found.values()))
    embedding = 'language_model.language_backbone.body.model.embeddings.word_embeddings.weight'
    from_words, from_pairs = (reached(found[name], model) for name in ('masked_words.loss_mlm', 'contrast.loss'))
    assert {embedding, 'masked_words.transform.dense.weight', 'masked_words.bias'} <= from_words
    assert {embedding, 'backbone.conv1.weight', 'bbox_head.aux_losses.contrast.text_projection.weight'} <= from_pairs
    # The picture tells which word is hidden where it is fused with the text.
    assert ('backbone.conv1.weight' in from_words) == early_fuse


def test_tokens_carry_the_keys_of_what_is_read() -> None:
    model = switched()
    *_, words = contrast_arguments(model, 'dcp')
    assert words.is_list_B.tolist() == [True, True, False]
    # [CLS] dog . traffic light [SEP]; [CLS] cat . dog [SEP]; [CLS] a man holds a dog . [SEP]
    first, second, third = words.phrase_BL.tolist()
    assert first[1] == second[3] == third[5]
    assert first[3] == first[4]
    assert third[1] == third[2]
    assert len({first[1], first[3], second[1], third[1], NO_KEY}) == 5
    nothing = [[0, 2, 5, 6, 7], [0, 2, 4, 5, 6, 7], [0, 3, 4, 6, 7]]
    for row, places in zip((first, second, third), nothing, strict=True):
        assert [place for place, key in enumerate(row) if key == NO_KEY] == places


@pytest.mark.parametrize(('other', 'place', 'is_pushed'), [('p', 5, False), ('p', 2, True), ('c', 1, True)])
def test_the_same_word_of_another_picture_is_no_negative(other: str, place: int, is_pushed: bool) -> None:
    """The regions of the first picture push every token of the other's text away but 'dog', where it is a caption."""
    model = switched()
    region_BNC, positive_BNL, text, words = contrast_arguments(model, f'd{other}')
    dog_only_BNL = torch.zeros_like(positive_BNL)
    dog_only_BNL[0, :, 1] = positive_BNL[0, :, 1]
    assert dog_only_BNL.any()
    token_BLC = text.embedded_BLC.detach().requires_grad_()
    module = model.bbox_head.aux_losses.contrast
    loss = module(region_BNC.detach(), dog_only_BNL, text._replace(embedded_BLC=token_BLC), words)['loss']
    (gradient_BLC,) = torch.autograd.grad(loss, token_BLC)
    assert gradient_BLC[1, place].any() == is_pushed


def test_the_same_word_of_two_lists_is_a_positive() -> None:
    model = switched()
    region_BNC, positive_BNL, text, words = contrast_arguments(model, 'dc')
    dog_only_BNL = torch.zeros_like(positive_BNL)
    dog_only_BNL[0, :, 1] = positive_BNL[0, :, 1]
    module = model.bbox_head.aux_losses.contrast
    found = module(region_BNC, dog_only_BNL, text, words)['loss']
    regions_nD = module.region_projection(region_BNC[dog_only_BNL.any(dim=2)])
    tokens_mD = module.text_projection(text.embedded_BLC[text.is_token_BL])
    logits_nm = module.logit_scale() * normalize(regions_nD, dim=1) @ normalize(tokens_mD, dim=1).T
    # [CLS] dog . traffic light [SEP] [CLS] cat . dog [SEP]
    dogs = [1, 9]
    expected = -(
        logits_nm.log_softmax(dim=1)[:, dogs].mean(dim=1).sum() + logits_nm.log_softmax(dim=0)[:, dogs].mean(0).sum()
    )
    torch.testing.assert_close(found, expected / 2 / len(logits_nm), atol=1e-5, rtol=1e-5)


def _contrast_of(rank: int, split: list[slice]) -> tuple[Tensor, dict[str, Tensor]]:
    model = switched(rate=0.0)
    part = {name: rows[split[rank]] for name, rows in asked('dcp').items()}
    loss = losses(model, part)['contrast.loss']
    loss.backward()
    gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    if distributed.is_initialized():
        for gradient in gradients.values():
            distributed.all_reduce(gradient)
            gradient /= len(split)
    return loss.detach(), gradients


def test_two_processes_contrast_what_one_does() -> None:
    expected, expected_gradients = _contrast_of(0, [slice(0, 3)])
    parts = in_joined_processes(_contrast_of, [slice(0, 2), slice(2, 3)])
    torch.testing.assert_close(sum(part[0] for part in parts) / 2, expected, atol=1e-5, rtol=1e-5)
    for _, gradients in parts:
        torch.testing.assert_close(gradients, expected_gradients, atol=1e-4, rtol=1e-3)


def test_words_that_are_shown_and_whole_captions_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    model = switched(rate=1.0, mask_share=1.0, random_share=0.0)
    read = []
    model.language_model.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    request = asked('dp')
    sample = request['data_samples'][0]
    sample.gt_instances = sample.gt_instances[:1]  # a traffic light, no dog
    losses(model, request)
    first, second = (
        BertTokenizerFast.from_pretrained(tiny_bert()).convert_ids_to_tokens(row) for row in read[0].tolist()
    )
    assert first == ['[CLS]', 'dog', '.', '[MASK]', '[MASK]', '[SEP]', '[PAD]', '[PAD]']
    assert second == ['[CLS]', *['[MASK]'] * 6, '[SEP]']


def test_nothing_shown_hides_nothing() -> None:
    model = switched(rate=1.0)
    request = batch([SHORT, OTHER])
    for sample in request['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    found = losses(model, copy.deepcopy(request))
    assert found['masked_words.loss_mlm'] == 0
    sum(loss.sum() for loss in found.values()).backward()
    assert [name for name, one in model.named_parameters() if one.grad is None] == []


def test_another_tower_needs_its_own_sizes() -> None:
    with pytest.raises(ConfigError, match=r'30522 entries of width 768, and the text tower has \(30522, 32\)'):
        ours(masked_words=dict(type='vlm_dense.MaskedWords'))
