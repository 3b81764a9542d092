import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.text.phrases import Phrase, noun_phrases, taggers
from vlm_dense.text.phrases.tokens import tokenise

CAPTIONS = {
    'A man riding a wave on top of a surfboard.': 'man|wave|surfboard',
    'Two black and white cats are sleeping on a pink couch.': 'black and white cats|pink couch',
    'A large group of people standing around a table with food.': 'people|table|food',
    'A young woman holding an umbrella while walking down the street.': 'young woman|umbrella|street',
    'The dining table is set with plates, glasses, and silverware.': 'dining table|plates|glasses|silverware',
    'a train travels down tracks next to a platform': 'train|tracks|platform',
    'Kids play baseball in a park.': 'Kids|baseball|park',
    'A close up of a pizza on a wooden cutting board.': 'pizza|wooden cutting board',
    'A red double decker bus parked in front of a building.': 'red double decker bus|building',
    'A man in a blue shirt is standing on a ladder cleaning a window.': 'man|blue shirt|ladder|window',
    'Three people wearing helmets ride bicycles through a city.': 'people|helmets|bicycles|city',
    'There is a stop sign next to a parking meter at the corner.': 'stop sign|parking meter|corner',
    'A cat that is eating some kind of food.': 'cat|food',
    'Brown dog catches a frisbee in mid-air.': 'Brown dog|frisbee',
    'Several giraffes stand together in a grassy field.': 'giraffes|grassy field',
    "A man's hat and a woman's handbag sit on a bench.": "man's hat|woman's handbag|bench",
    'An orange and white plate topped with broccoli and carrots.': 'orange and white plate|broccoli|carrots',
    'A person on skis going down a snowy hill.': 'person|skis|snowy hill',
    'A big, red fire truck driving past a crowd.': 'big, red fire truck|crowd',
    'The sky is blue and people are walking.': 'sky|people',
    'A photo of a cat.': 'cat',
    'A chain saw and 7 screwdrivers in a box of tools': 'chain saw|screwdrivers|box|tools',
    'A woman in a bikini is playing volleyball near the ocean.': 'woman|bikini|volleyball|ocean',
    'A glass vase filled with yellow flowers.': 'glass vase|yellow flowers',
    'A group of kids wait to cross the street.': 'kids|street',
    'a bathroom with a toilet, sink and bathtub': 'bathroom|toilet|sink|bathtub',
    'a cat. a remote control.': 'cat|remote control',
    'It is very dark.': '',
    '': '',
}
PROMPTS = {
    'person. traffic light. hot dog.': 'person|traffic light|hot dog',
    'person . jack in the box . cooking utensil': 'person|jack in the box|cooking utensil',
    'bow and arrow. chest of drawers. 7-up.': 'bow and arrow|chest of drawers|7-up',
    'Fußgänger. säge. 信号機': 'Fußgänger|säge|信号機',
}
BEYOND_THE_RULES = {  # what the docstring says that the rules cannot do
    'A dog gnaws bone.': 'dog gnaws bone',
    'Man riding horse. Dog sleeping.': 'Man riding horse|Dog sleeping',
    'Zwei Hunde spielen im Schnee.': 'Zwei Hunde spielen im Schnee',
}


class TestRules:
    @pytest.mark.parametrize(('caption', 'phrases'), list((CAPTIONS | PROMPTS | BEYOND_THE_RULES).items()))
    def test_table(self, caption: str, phrases: str) -> None:
        assert [phrase.text for phrase in noun_phrases(caption)] == (phrases.split('|') if phrases else [])

    def test_spans(self) -> None:
        assert noun_phrases('  A cat, the cat.') == [Phrase('cat', 4, 7), Phrase('cat', 13, 16)]

    @settings(max_examples=300, deadline=None)
    @given(
        st.one_of(
            st.text(),
            st.lists(st.sampled_from(['a', 'cat', 'red', 'and', ',', '. ', 'riding', 'İs', 'सेब', 'of', '’s', '7'])).map(
                ' '.join
            ),
        )
    )
    @example('a İSTANBUL İİ cat')  # case folding makes it longer
    def test_spans_slice_the_caption_and_never_overlap(self, caption: str) -> None:
        end = 0
        for phrase in noun_phrases(caption):
            assert phrase.start >= end
            assert phrase.end > phrase.start
            assert caption[phrase.start : phrase.end] == phrase.text == phrase.text.strip()
            end = phrase.end

    def test_marks_stay_with_their_letters(self) -> None:
        assert [token.text for token in tokenise("लाल सेब, man’s T-shirt 'quoted' e\u0301tude")] == [
            *('लाल', 'सेब', ',', "man's", 't-shirt', "'", 'quoted', "'", 'e\u0301tude'),
        ]

    @pytest.mark.parametrize('piece', ['red, ', 'a ', 'cat. ', "'", 'x', 'in front of ', 'black and '])
    def test_long_texts_take_linear_time(self, piece: str) -> None:
        noun_phrases(piece * 20_000)  # a quadratic step would run into the time limit


class FakePipeline:
    """Chunks of fixed words; a chunk named 'parser' says that there is none."""

    def __init__(self, *chunks: str) -> None:
        self.chunks = chunks

    def __call__(self, caption: str) -> SimpleNamespace:
        if 'parser' in self.chunks:
            raise ValueError('[E029] noun_chunks requires the dependency parse')
        starts = [caption.index(chunk) for chunk in self.chunks]
        spans = [(start, start + len(chunk)) for start, chunk in zip(starts, self.chunks, strict=True)]
        return SimpleNamespace(noun_chunks=[SimpleNamespace(start_char=start, end_char=end) for start, end in spans])


def install(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, loader=None)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)
    taggers._spacy_pipeline.cache_clear()


class TestSpacy:
    def test_chunks_lose_determiners_and_pronouns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, 'spacy', load=lambda name: FakePipeline('The old dog', 'it', 'two cats', 'the'))
        assert noun_phrases('The old dog said that it saw two cats of the', 'spacy', 'fake') == [
            Phrase('old dog', 4, 11),
            Phrase('cats', 33, 37),
        ]

    def test_missing_pipeline_names_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(name: str) -> None:
            raise OSError(f'[E050] Can not find model {name}')

        install(monkeypatch, 'spacy', load=load)
        with pytest.raises(MissingFileError, match=r"'en_core_web_sm' is neither .* python -m spacy download"):
            noun_phrases('a cat', 'spacy')

    def test_pipeline_without_parser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, 'spacy', load=lambda name: FakePipeline('parser'))
        with pytest.raises(ConfigError, match="'blank' finds no noun chunks"):
            noun_phrases('a cat', 'spacy', 'blank')

    def test_real_blank_pipeline(self, tmp_path) -> None:
        spacy = pytest.importorskip('spacy', reason='spaCy is optional')
        taggers._spacy_pipeline.cache_clear()
        spacy.blank('en').to_disk(tmp_path / 'blank')
        with pytest.raises(ConfigError, match='finds no noun chunks'):
            noun_phrases('a cat', 'spacy', tmp_path / 'blank')
        with pytest.raises(MissingFileError, match='python -m spacy download'):
            noun_phrases('a cat', 'spacy', tmp_path / 'none')


class TestNltk:
    def test_runs_that_end_in_a_noun(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tags = dict(the='DT', old='JJ', dog='NN', saw='VBD', red='JJ', cats='NNS', happy='JJ')

        def pos_tag(words: list[str]) -> list[tuple[str, str]]:
            return [(word, tags.get(word, 'NN')) for word in words]

        install(monkeypatch, 'nltk', pos_tag=pos_tag, data=SimpleNamespace(path=[]))
        caption = 'the old dog saw red, cats happy'
        assert noun_phrases(caption, 'nltk') == [Phrase('old dog', 4, 11), Phrase('cats', 21, 25)]

    def test_missing_data_name_places_and_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def pos_tag(words: list[str]) -> None:
            raise LookupError('Resource not found')

        data = SimpleNamespace(path=['/usr/share/nltk_data'])
        install(monkeypatch, 'nltk', pos_tag=pos_tag, data=data)
        with pytest.raises(
            MissingFileError, match=r"none of '/mine', '/usr/share/nltk_data'\. Fetch them: python -m nltk"
        ):
            noun_phrases('a cat', 'nltk', '/mine')

    def test_real_package_never_downloads(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
        nltk = pytest.importorskip('nltk', reason='NLTK is optional')
        monkeypatch.setattr(nltk.data, 'path', [])
        with pytest.raises(MissingFileError, match=r'python -m nltk\.downloader averaged_perceptron_tagger_eng'):
            noun_phrases('a cat', 'nltk', tmp_path)


class TestMistakes:
    @pytest.mark.parametrize('package', ['spacy', 'nltk'])
    def test_missing_package_names_the_command(self, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        taggers._spacy_pipeline.cache_clear()
        monkeypatch.setattr(taggers, 'find_spec', lambda name: None)
        with pytest.raises(MissingFileError, match=f"'{package}' is not installed. Install it: pip install {package}"):
            noun_phrases('a cat', package)

    def test_unknown_method(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown method 'spacey' .* Did you mean 'spacy'\?"):
            noun_phrases('a cat', 'spacey')
