import json
import re
import time
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text import articles
from vlm_dense.text.articles import article_or_none, first_letter_article, indefinite_article, is_plural
from vlm_dense.text.prompts import PROMPT_SETS, load_prompts


def read_json(name: str) -> dict:
    return json.loads((files('vlm_dense.text') / 'prompt_sets' / f'{name}.json').read_text(encoding='utf-8'))


class TestNamedSets:
    @pytest.mark.parametrize('name', PROMPT_SETS)
    def test_every_set_is_a_data_file_with_its_source(self, name: str) -> None:
        content = read_json(name)
        assert set(content) <= {'source', 'aliases', 'articles', 'cleaning', 'templates'}
        assert len(content['source']) > 20
        assert len(set(content['templates'])) == len(content['templates'])
        assert load_prompts(name).templates == tuple(content['templates'])
        for template in content['templates']:
            assert load_prompts([template]).templates == (template,)

    def test_names_come_from_the_files(self) -> None:
        stems = [entry.name for entry in (files('vlm_dense.text') / 'prompt_sets').iterdir()]
        assert sorted(stems) == [f'{name}.json' for name in PROMPT_SETS]

    @pytest.mark.parametrize(
        ('name', 'texts'),
        [
            ('name', ['cat']),
            ('single', ['a photo of a cat.']),
            ('a_photo', ['a photo of a cat']),
            ('detic', ['a cat']),
            ('zegformer', ['A photo of a cat in the scene']),
            ('zsseg', ['a sculpture of a cat.']),
        ],
    )
    def test_one_template(self, name: str, texts: list[str]) -> None:
        assert load_prompts(name).texts('cat') == texts

    def test_openai_80_and_7_equal_open_clips(self) -> None:
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

        for name, functions in (('openai_80', OPENAI_IMAGENET_TEMPLATES), ('openai_7', SIMPLE_IMAGENET_TEMPLATES)):
            assert load_prompts(name).texts('cat') == [function('cat') for function in functions]

    def test_openai_80_and_vild_14_equal_mmsegs(self) -> None:
        from mmseg.utils import get_predefined_templates

        assert load_prompts('openai_80').templates == tuple(get_predefined_templates('imagenet'))
        assert load_prompts('vild_14').templates == tuple(get_predefined_templates('vild'))
        assert len(load_prompts('openai_80').templates) == 80
        assert len(load_prompts('vild_14').templates) == 14

    def test_maskclip_is_the_80_and_5(self) -> None:
        templates = load_prompts('maskclip_85').templates
        assert templates[:80] == load_prompts('openai_80').templates
        assert templates[80:] == (
            'there is a {} in the scene.',
            'there is the {} in the scene.',
            'this is a {} in the scene.',
            'this is the {} in the scene.',
            'this is one {} in the scene.',
        )

    def test_regionclip_is_the_name_and_the_80(self) -> None:
        templates = load_prompts('regionclip').templates
        assert len(templates) == 81
        assert templates[:3] == ('{}.', 'a photo of a {}.', 'a bad photo of a {}.')
        assert set(templates) == {'{}.', *load_prompts('openai_80').templates}
        assert load_prompts('regionclip').texts('bow_(decorative_ribbons)')[0] == 'bow decorative ribbons.'
        assert load_prompts('regionclip').texts('salt,pepper+oil')[0] == 'saltpepper oil.'

    def test_zegformers(self) -> None:
        short, long = load_prompts('zegformer_8').templates, load_prompts('zegformer_32').templates
        assert short == (*load_prompts('openai_7').templates, 'A photo of a {} in the scene')
        assert len(long) == 32
        assert sum('masked' in template for template in long) == 10
        assert sum(template.endswith('in the scene') for template in long) == 16
        assert sum(template.endswith('.') for template in long) == 4


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

    def test_its_own_article_rule(self) -> None:
        words = {'unicorn': 'an', 'hour': 'a', 'Eagle': 'a', 'eagle': 'an', '': 'a'}
        assert {word: first_letter_article(word) for word in words} == words
        assert load_prompts('vild').texts('scissors')[0] == 'There is a scissors in the scene.'


class TestFilling:
    def test_underscores_join_words_in_data_sets(self) -> None:
        assert load_prompts('name').texts('traffic_light ') == ['traffic light']

    def test_the_word_is_kept_otherwise(self) -> None:
        assert load_prompts('{}').texts('Fußgänger {x} 信号') == ['Fußgänger {x} 信号']

    def test_article_and_its_space(self) -> None:
        prompts = load_prompts(['{article} {}', 'a photo of {article} {}.', 'the {}'])
        assert prompts.texts('owl') == ['an owl', 'a photo of an owl.', 'the owl']
        assert prompts.texts('scissors') == ['scissors', 'a photo of scissors.', 'the scissors']

    def test_definition(self) -> None:
        prompts = load_prompts('definition')
        assert prompts.texts('tennis_ball', ' a ball\nfor {tennis}. ') == [
            'tennis ball, which is a ball for {tennis}.',
        ]
        assert load_prompts('single').texts('cat', 'a feline') == ['a photo of a cat.']

    @pytest.mark.parametrize('definition', [None, '', ' .'])
    def test_word_without_definition(self, definition: str | None) -> None:
        with pytest.raises(VocabularyError, match=r"'cat' has no definition, which the prompt '.*' needs\. Give"):
            load_prompts('definition').texts('cat', definition)

    def test_21000_words_in_80_templates_take_seconds(self) -> None:
        prompts = load_prompts([f'{row} {{article}} {{}}' for row in range(80)])
        prompts.texts('warm')
        start = time.perf_counter()
        assert sum(len(prompts.texts(f'word{row}')) for row in range(2100)) == 168000
        assert time.perf_counter() - start < 3  # a tenth of the words; measured 0.3 s


class TestNames:
    @pytest.mark.parametrize('name', ['openai-80', 'openai_80', 'imagenet'])
    def test_dashes_and_other_names(self, name: str) -> None:
        assert len(load_prompts(name).templates) == 80

    def test_other_names_are_unique(self) -> None:
        names = [name for chosen in PROMPT_SETS for name in (chosen, *read_json(chosen).get('aliases', ()))]
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize(
        ('prompt', 'message'),
        [
            ('vld', "unknown prompt set 'vld'. Did you mean 'vild'?"),
            ('maskclip-58', "Did you mean 'maskclip_85'?"),
            ('qqqqq', "unknown prompt set 'qqqqq'. The sets are a_photo, "),
            ([], 'empty'),
            (['a photo'], "must hold '{}' exactly once"),
            (['{} and {}'], "must hold '{}' exactly once"),
            (['{} {colour}'], "no field but '{article}' and '{definition}'"),
            (['{article} small {}'], "must stand directly before the word: '{article} {}'"),
            (['{'], 'cannot be filled'),
            (['{:d}'], 'cannot be filled'),
            ([3], 'must be a string'),
        ],
    )
    def test_mistakes(self, prompt: object, message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_prompts(prompt)  # type: ignore[arg-type]


AN = (
    'apple elephant igloo orange umbrella urn uncle hour hourglass honest heirloom Eagle uninvited undershirt onion '
    "usher X-ray x-ray SUV suv l-shaped 8-ball 80s 11-gauge 18,000 MP3 LED éclair hors-d'oeuvre A-frame F-16 Österreich"
)
A = (
    'cat horse house unicorn uniform unicycle university euro ewe ewer one-way used utensil urinal ukulele U-turn '
    'useful ufo yacht 信号機 onesie xylophone ouija UK T-shirt 100 180 1200 European säge NASA herb eucalyptus'
)
PLURAL = (
    'scissors|people|pants|glasses|French fries|bunches of grapes|skis|binoculars|short pants|sunglasses|policemen|'
    'mice|children|geese|teeth|sheep shears|overalls (clothing)|taxis|menus|Brussels sprouts|fair-maids-of-France|'
    'cattle|tongs|dairy cows|brussels_sprouts|seamen|swim trunks / shorts|knives|tomatoes|High Heels|women|clothes'
)
SINGULAR = (
    'bus|glass|tennis|gas|asparagus|hummus|pancreas|lens|wine glass|compass|dress|mattress|rhinoceros|triceratops|'
    "cactus|iris|chest of drawers|bunch of grapes|bag of chips|jack in the box|lily-of-the-valley|baker's|canvas|"
    'atlas|stamen|specimen|omen|ramen|chalice|fish slice|species|series|bow (decorative ribbons)|walrus|trellis|'
    'octopus|albatross|sheep|fish|people mover|clothespin|table tennis |as|us'
)
LVIS_PLURALS = {
    *('binoculars', 'suspenders', 'brussels sprouts', 'clippers (for plants)', 'underdrawers', 'goggles', 'grits'),
    *('overalls (clothing)', 'pajamas', 'pliers', 'scissors', 'shears', 'short pants', 'spectacles', 'sunglasses'),
    *('sweat pants', 'tights (clothing)', 'tongs', 'trousers'),
}
IMAGENET_PLURALS = {
    *('binoculars', 'clogs', 'jeans', 'tights', 'pajamas', 'parallel bars', 'sunglasses', 'swim trunks / shorts'),
    'mashed potatoes',
}


class TestArticles:
    @pytest.mark.parametrize(('words', 'article'), [(AN, 'an'), (A, 'a')])
    def test_follow_the_sound(self, words: str, article: str) -> None:
        wrong = [word for word in words.split() if indefinite_article(word) != article]
        assert not wrong

    def test_plurals(self) -> None:
        assert [word for word in PLURAL.split('|') if not is_plural(word.replace('_', ' '))] == []
        assert [word for word in SINGULAR.split('|') if is_plural(word)] == []
        assert [article_or_none(word) for word in ('people', 'owl', 'cat', 'hours')] == ['', 'an', 'a', '']

    def test_plural_names_of_data_sets(self) -> None:
        from mmdet.datasets import CocoDataset, LVISV1Dataset
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

        lvis = [name.replace('_', ' ') for name in LVISV1Dataset.METAINFO['classes']]
        assert [name for name in CocoDataset.METAINFO['classes'] if is_plural(name)] == ['skis', 'scissors']
        assert {name for name in lvis if is_plural(name)} == LVIS_PLURALS
        assert {name for name in IMAGENET_CLASSNAMES if is_plural(name)} == IMAGENET_PLURALS

    def test_names_of_data_sets_whose_letter_misleads(self) -> None:
        from mmdet.datasets import CocoDataset, LVISV1Dataset
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

        names = {*CocoDataset.METAINFO['classes'], *LVISV1Dataset.METAINFO['classes'], *IMAGENET_CLASSNAMES}
        by_letter = {name: 'an' if name[0].lower() in 'aeiou' else 'a' for name in names}
        assert {name for name in names if indefinite_article(name) != by_letter[name]} == {
            'unicycle', 'urinal', 'hourglass', 'one-piece bathing suit',
            'European green lizard', 'European garden spider', 'European polecat',
        }  # fmt: skip

    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def test_any_text(self, word: str) -> None:
        assert indefinite_article(word) in ('a', 'an')
        assert load_prompts('{article} {}').texts(word)[0].endswith(load_prompts('{}').texts(word)[0])

    def test_inflect_is_imported_by_the_first_article_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise RuntimeError('inflect takes seconds to import')

        monkeypatch.setattr(articles, '_inflect', refuse)
        assert 'inflect' not in vars(articles)
        assert load_prompts('openai_80').texts('cattail')[0] == 'a bad photo of a cattail.'
        with pytest.raises(RuntimeError, match='takes seconds'):
            load_prompts('{article} {}').texts('cattail')
