import time
from collections.abc import Sequence

import pytest
from mmdet.models.detectors.glip import chunks, clean_label_name

from vlm_dense.errors import VocabularyError
from vlm_dense.text.prompt_packing import (
    Prompt,
    caption_prompt,
    clean_name,
    join_words,
    one_prompt,
    pack_words,
    word_texts,
)
from vlm_dense.text.vocabulary import Vocabulary

LVIS = Vocabulary.from_dataset('lvis_v1').words


class Counter:
    """Tokens of the MiniLM tokenizer (BERT's vocabulary), counting the calls."""

    def __init__(self, tokenizer: object) -> None:
        self.tokenizer = tokenizer
        self.calls = 0

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.calls += 1
        return [len(row) for row in self.tokenizer.ids(texts)]


@pytest.fixture
def count(bert_tokenizer: object) -> Counter:
    return Counter(bert_tokenizer)


def rows_of(prompts: list[Prompt]) -> list[int]:
    return [row for prompt in prompts for row in prompt.rows]


def said(prompt: Prompt) -> list[str]:
    return [prompt.text[start:end] for ((start, end),) in prompt.spans]


def test_names_are_cleaned_as_by_mmdet() -> None:
    odd = ['mouse_(computer_equipment)', 'cat (pet)', 'a__b', 'x_(y)_z', 'plain']
    assert [clean_name(word) for word in (*odd, *LVIS)] == [clean_label_name(word) for word in (*odd, *LVIS)]


def test_all_of_lvis_in_few_prompts_and_calls(count: Counter) -> None:
    texts = word_texts(LVIS, clean=True)
    start = time.perf_counter()
    prompts = pack_words(texts, count, 256)
    assert time.perf_counter() - start < 1
    assert count.calls == 2
    lengths = count([prompt.text for prompt in prompts])
    assert max(lengths) <= 256
    # Greedy: no prompt had room for the first word of the next one.
    for prompt, length, following in zip(prompts, lengths, prompts[1:], strict=False):
        (first,) = count([said(following)[0]])
        assert length + 1 + first - 2 > 256
        assert said(prompt) == [texts[row].name for row in prompt.rows]
    assert rows_of(prompts) == list(range(len(LVIS)))


def test_groups_of_forty_are_those_of_mmdet(count: Counter) -> None:
    prompts = pack_words(word_texts(LVIS, clean=True), count, 256, words_per_prompt=40)
    expected = ['. '.join(map(clean_label_name, group)) for group in chunks(list(LVIS), 40)]
    assert [prompt.text for prompt in prompts] == expected
    assert len(prompts) == 31


def test_a_group_too_long_is_split_and_the_next_begins_where_it_would(count: Counter) -> None:
    words = [f'very long thing number {number}' for number in range(10)]
    prompts = pack_words(words, count, max_tokens=20, words_per_prompt=5)
    assert [prompt.rows for prompt in prompts] == [(0, 1, 2), (3, 4), (5, 6, 7), (8, 9)]


def test_tokens_that_join_neighbours_are_counted_again() -> None:
    def glued(texts: Sequence[str]) -> list[int]:
        """Two more tokens wherever 'b' follows 'a', as no count of single words tells."""
        return [2 + len(text.split()) + 2 * text.count('a. b') for text in texts]

    prompts = pack_words(['a', 'b', 'c', 'a'], glued, max_tokens=6)
    assert max(glued([prompt.text for prompt in prompts])) <= 6
    assert rows_of(prompts) == [0, 1, 2, 3]


def test_one_word_too_long_is_an_error_with_numbers(count: Counter) -> None:
    with pytest.raises(VocabularyError, match=r"'dog dog.*' takes 302 tokens; this text encoder reads 256"):
        pack_words(['cat', ' '.join(['dog'] * 300)], count, 256)


def test_words_that_vanish_are_named(count: Counter) -> None:
    with pytest.raises(VocabularyError, match=r"nothing of '\(pet\)' is left"):
        word_texts(['cat', '(pet)'], clean=True)
    with pytest.raises(VocabularyError, match=r'nothing of .* is left in its tokens'):
        pack_words(['cat', '\u200b'], count, 256)


def test_training_words_must_fit_one_prompt(count: Counter) -> None:
    assert one_prompt(['cat', 'red car'], count, 256) == Prompt('cat. red car', (0, 1), (((0, 3),), ((5, 12),)))
    with pytest.raises(VocabularyError, match=r'1203 words take \d{4} tokens in one prompt, and 256 fit'):
        one_prompt(LVIS, count, 256)


def test_descriptions_stand_around_the_word() -> None:
    described = {'pistol': dict(name='gun', prefix='a ', suffix=' with a barrel')}
    prompt = join_words(word_texts(['cat', 'pistol', 'dog'], described=described), range(3))
    assert prompt.text == 'cat. a gun with a barrel. dog'
    assert said(prompt) == ['cat', 'gun', 'dog']
    with pytest.raises(VocabularyError, match="'pistl' is described"):
        word_texts(['cat', 'pistol'], described={'pistl': {}})
    with pytest.raises(VocabularyError, match="has 'suffx'; write prefix, name, suffix"):
        word_texts(['pistol'], described={'pistol': dict(suffx='')})


def test_captions() -> None:
    prompt = caption_prompt('a man and his dog', [[(0, 5)], [(10, 13), (14, 17)]])
    assert prompt.rows == (0, 1)
    for wrong in ([[(0, 99)]], [[]], [[(1, 2)]]):
        with pytest.raises(VocabularyError, match="phrase 0 of 'a man and his dog'"):
            caption_prompt('a man and his dog', wrong)
