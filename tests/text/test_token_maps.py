from typing import Any

import pytest
import torch
from mmdet.models.detectors.glip import create_positive_map

from vlm_dense.errors import VocabularyError
from vlm_dense.text.prompt_packing import Prompt, caption_prompt, pack_words, word_texts
from vlm_dense.text.token_maps import word_tokens
from vlm_dense.text.vocabulary import Vocabulary


def mmdet_map(tokenizer: Any, prompt: Prompt) -> torch.Tensor:
    tokenized = tokenizer._tokenizer([prompt.text], return_tensors='pt')
    return create_positive_map(tokenized, [list(spans) for spans in prompt.spans])


@pytest.mark.parametrize('words', ['lvis_v1', 'coco'])
def test_same_tokens_as_mmdet(words: str, bert_tokenizer: Any) -> None:
    texts = word_texts(Vocabulary.from_dataset(words).words, clean=True)
    prompts = pack_words(texts, lambda asked: [len(row) for row in bert_tokenizer.ids(asked)], 256, 40)
    for prompt in prompts:
        found_KL = word_tokens(prompt, bert_tokenizer.tokens(prompt.text))
        expected_KL = mmdet_map(bert_tokenizer, prompt)
        assert expected_KL[:, found_KL.shape[1] :].count_nonzero() == 0
        assert torch.equal(found_KL, expected_KL[:, : found_KL.shape[1]] > 0)


def test_phrases_in_several_places(bert_tokenizer: Any) -> None:
    text = 'Two dogs, one black and one white, chase a Frisbee'
    prompt = caption_prompt(text, [[(0, 8)], [(10, 19)], [(10, 13), (24, 33)], [(43, 50)]])
    found_KL = word_tokens(prompt, bert_tokenizer.tokens(text))
    assert torch.equal(found_KL, mmdet_map(bert_tokenizer, prompt)[:, : found_KL.shape[1]] > 0)


def test_a_place_that_ends_in_blanks_keeps_its_tokens(bert_tokenizer: Any) -> None:
    """mmdet looks three characters back from the end and then gives up: the word would have no token."""
    prompt = caption_prompt('cat    . dog', [[(0, 7)], [(9, 12)]])
    assert word_tokens(prompt, bert_tokenizer.tokens(prompt.text)).nonzero().tolist() == [[0, 1], [1, 3]]
    assert mmdet_map(bert_tokenizer, prompt)[0].count_nonzero() == 0


def test_a_word_without_token_is_named(bert_tokenizer: Any) -> None:
    prompt = Prompt('cat \u200b dog', (0, 1), (((0, 3),), ((4, 5),)))
    with pytest.raises(VocabularyError, match=r"has no token in 'cat"):
        word_tokens(prompt, bert_tokenizer.tokens(prompt.text))
