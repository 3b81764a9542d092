import json
import re
from importlib.resources import files

import pytest

from vlm_dense.errors import ConfigError
from vlm_dense.text.prompts import PROMPT_SETS, first_letter_article, indefinite_article, load_prompts


def test_named_sets() -> None:
    assert load_prompts('name').texts('cat') == ['cat']
    assert load_prompts('single').texts('cat') == ['a photo of a cat.']
    assert load_prompts('a_photo').texts('cat') == ['a photo of a cat']


@pytest.mark.parametrize('name', PROMPT_SETS)
def test_every_set_is_a_data_file_with_its_source(name: str) -> None:
    content = json.loads((files('vlm_dense.text') / 'prompt_sets' / f'{name}.json').read_text(encoding='utf-8'))
    assert content['source']
    assert len(set(content['templates'])) == len(content['templates'])
    assert load_prompts(name).templates == tuple(content['templates'])
    for template in content['templates']:
        assert load_prompts([template]).templates == (template,)


class TestViLD:
    def test_63_templates(self) -> None:
        texts = load_prompts('vild').texts('eagle')
        assert len(texts) == len(set(texts)) == 63
        assert texts[0] == 'There is an eagle in the scene.'
        assert texts[2] == 'This is a photo of an eagle in the scene.'
        assert 'itap of my eagle.' in texts
        assert texts[-1] == 'This is a painting of a eagle.'  # the source writes 'a', not its article
        assert all(text.endswith('.') and 'eagle' in text for text in texts)

    def test_this_is_stands_before_a_and_the_only(self) -> None:
        for text in load_prompts('vild').texts('cat'):
            assert text.startswith(('This is a', 'This is the', 'There is ', 'itap of '))

    def test_words_are_cleaned_as_its_code_does(self) -> None:
        texts = load_prompts('vild').texts('Ice_cream/Sorbet.')
        assert texts[1] == 'There is the ice cream or sorbet in the scene.'
        assert texts[0].startswith('There is a ice')  # its rule reads the first letter as written: 'I'


def test_underscores_join_words_in_data_sets() -> None:
    assert load_prompts('name').texts('traffic_light ') == ['traffic light']


def test_the_word_is_kept_otherwise() -> None:
    assert load_prompts('{}').texts('Fußgänger {x} 信号') == ['Fußgänger {x} 信号']


@pytest.mark.parametrize(
    ('words', 'article'),
    [
        (
            'apple elephant igloo orange umbrella urn uncle hour hourglass honest heirloom Eagle uninvited undershirt',
            'an',
        ),
        (
            'cat horse house unicorn uniform unicycle university euro ewe one-way used utensil urinal ukulele U-turn',
            'a',
        ),
        ('useful ufo yacht 8-ball 信号機 onesie', 'a'),
    ],
)
def test_articles_follow_the_sound(words: str, article: str) -> None:
    wrong = [word for word in words.split() if indefinite_article(word) != article]
    assert not wrong


def test_vilds_article_rule() -> None:
    assert [first_letter_article(word) for word in ('unicorn', 'hour', 'Eagle', 'eagle', '')] == [
        'an',
        'a',
        'a',
        'an',
        'a',
    ]


def test_article_in_own_template() -> None:
    assert load_prompts(['{article} {}', 'the {}']).texts('owl') == ['an owl', 'the owl']


@pytest.mark.parametrize(
    ('prompt', 'message'),
    [
        ('vld', "unknown prompt set 'vld'"),
        ([], 'empty'),
        (['a photo'], "must hold '{}' exactly once"),
        (['{} and {}'], "must hold '{}' exactly once"),
        (['{} {colour}'], "no field but '{article}'"),
        (['{'], 'cannot be filled'),
        ([3], 'must be a string'),
    ],
)
def test_mistakes(prompt: object, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_prompts(prompt)  # type: ignore[arg-type]
