import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_dense.errors import VocabularyError
from vlm_dense.text import Vocabulary
from vlm_dense.text import vocabulary_files as files


def write(path: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode())
    return path


class TestText:
    def test_commas_belong_to_the_word(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'words.txt', 'painting, picture\n1:wall\n')
        assert Vocabulary.from_file(path).words == ('painting, picture', '1:wall')

    def test_synonyms_where_a_separator_is_asked_for(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'words.txt', 'person, child,girl, CHILD , Person\ncar\nbag,person\n')
        words = Vocabulary.build(dict(file=path, synonym_separator=',', base=['car']))
        assert [words.names(row) for row in range(3)] == [('person', 'child', 'girl'), ('car',), ('bag', 'person')]
        assert words.is_base == (False, True, False)

    def test_numbered_rows(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'words.txt', '0:invalid_class_id\n1:wall,walls\n2: sky\n3:invalid_class_id\n4:a:b\n')
        words = Vocabulary.build(dict(file=path, numbered=True, synonym_separator=','))
        assert [words.names(row) for row in range(3)] == [('wall', 'walls'), ('sky',), ('a:b',)]

    @pytest.mark.parametrize(
        ('text', 'options', 'message'),
        [
            (
                'a\nb,,c\n',
                dict(synonym_separator=','),
                r"row 2 of w.txt has an empty name: 'b,,c'. Remove the spare ','",
            ),
            ('a\nb\n', dict(synonym_separator=''), "Write the character between names, such as ','"),
            ('a\nb\n', dict(synonym_separator=3), 'synonym_separator is 3'),
            ('1:a\nb\n', dict(numbered=True), "row 2 of w.txt is 'b', without a number and a colon"),
            ('1:a\n2:\n', dict(numbered=True), 'row 2 of w.txt is empty'),
            ('0:invalid_class_id\n', dict(numbered=True), "w.txt without its rows 'invalid_class_id' holds no words"),
            ('a,b\na,c\n', dict(synonym_separator=','), r"'a' and 'a' are the same class .*rows 1 and 2 of w.txt"),
            ('a\nA\n', {}, r'rows 1 and 2 of w.txt\)\. Remove one\. .* dedupe=True keeps the first'),
            ('a\x07\n', {}, r'row 1 of w.txt holds a control character, U\+0007'),
        ],
    )
    def test_mistakes(self, tmp_path: Path, text: str, options: dict, message: str) -> None:
        with pytest.raises(VocabularyError, match=message):
            Vocabulary.from_file(write(tmp_path / 'w.txt', text), **options)

    def test_dedupe(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'words.txt', 'timer\nclock\nTimer\n')
        assert Vocabulary.build(dict(file=path, dedupe=True)).words == ('timer', 'clock')

    @pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
    def test_line_ends(self, tmp_path: Path, end: str) -> None:
        assert Vocabulary.from_file(write(tmp_path / 'w.txt', f'a{end}b{end}')).words == ('a', 'b')


class TestJson:
    def test_columns(self, tmp_path: Path) -> None:
        spec = dict(
            words=['cat', '信号機'],
            base=['cat'],
            synonyms=[['kitty'], []],
            definitions=[None, 'traffic light'],
            is_thing=[True, True],
            frequency=['r', 'f'],
        )
        words = Vocabulary.from_file(write(tmp_path / 'w.json', {**spec, 'source': 'me'}))
        assert words == Vocabulary.build(spec)
        assert words.as_spec() == spec

    def test_frequency_without_base(self, tmp_path: Path) -> None:
        columns = dict(words=['a', 'b'], frequency=['r', 'c'])
        assert Vocabulary.from_file(write(tmp_path / 'w.json', columns)).is_base == (False, True)
        assert Vocabulary.from_file(write(tmp_path / 'w.json', {**columns, 'base': []})).is_base == (False, False)

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            (dict(words=['a'], synonym=[['b']]), "has a key 'synonym'; did you mean 'synonyms'"),
            (dict(words=['a'], novel=['a']), "has 'novel' but no 'base'"),
            (dict(words=['a'], synonyms={'a': ['b']}), "'synonyms' of .* must be a list with one entry per word"),
            (dict(words=['a', 'b'], definitions=['c']), '2 words came with 1 definitions'),
            (dict(words=['a', 'b'], synonyms=[[], ['b']]), r"'b' stands twice .*row 2 of w.json"),
            (['a', 'd\\ud800g'], r'row 2 of w.json holds half of a surrogate pair'),
            (['a', 1], 'row 2 of w.json is 1, not a string'),
        ],
    )
    def test_mistakes(self, tmp_path: Path, content: object, message: str) -> None:
        text = json.dumps(content).replace('\\\\', '\\')
        with pytest.raises(VocabularyError, match=message):
            Vocabulary.from_file(write(tmp_path / 'w.json', text))


# Shaped as in LVIS v1 (https://www.lvisdataset.org): the word stands among its synonyms.
LVIS = [
    dict(id=1, name='aerosol_can', synonyms=['aerosol_can', 'spray_can'], frequency='c', **{'def': 'a dispenser'}),
    dict(id=2, name='apricot', synonyms=['apricot'], frequency='r', **{'def': 'a fruit'}),
]
PANOPTIC = [dict(id=1, name='person', isthing=1), dict(id=92, name='banner', isthing=0)]


class TestCategories:
    @pytest.mark.parametrize('wrapped', [True, False])
    def test_lvis(self, tmp_path: Path, wrapped: bool) -> None:
        path = write(tmp_path / 'lvis.json', dict(categories=LVIS, images=[]) if wrapped else LVIS)
        assert Vocabulary.from_file(path) == Vocabulary(
            ('aerosol_can', 'apricot'),
            (True, False),
            synonyms=(('spray_can',), ()),
            definitions=('a dispenser', 'a fruit'),
            frequency=('c', 'r'),
        )

    def test_panoptic(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'panoptic.json', dict(categories=PANOPTIC))
        assert Vocabulary.from_file(path) == Vocabulary(('person', 'banner'), (False, False), is_thing=(True, False))

    @pytest.mark.parametrize(
        ('category', 'message'),
        [
            (dict(name='b'), "category 3 of .* has no 'frequency', but others have"),
            (dict(name='b', frequency='x'), "the frequency in row 3 of w.json is 'x'"),
            (dict(name='b', frequency='c', synonyms='c'), "the 'synonyms' of category 3 of .* must be a list"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, category: dict, message: str) -> None:
        with pytest.raises(VocabularyError, match=message):
            Vocabulary.from_file(write(tmp_path / 'w.json', dict(categories=[*LVIS, category])))


class TestLargeAnnotations:
    @pytest.fixture(autouse=True)
    def _everything_is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, 'LARGE_BYTES', 1)

    def test_categories_alone_are_parsed(self, tmp_path: Path) -> None:
        categories = [dict(name=f'ü信{row}', synonyms=['é' * (1 + row % 7)]) for row in range(1, 3000)]
        annotations = [dict(id=row, segmentation=[[row] * 20]) for row in range(20_000)]
        path = write(tmp_path / 'w.json', dict(annotations=annotations, categories=categories, images=annotations))
        tracemalloc.start()
        try:
            words = Vocabulary.from_file(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert words == Vocabulary.from_file(write(tmp_path / 'small.json', categories))
        # Parsed whole, the file takes several times its size.
        assert peak < path.stat().st_size

    @pytest.mark.parametrize('shift', [0, 1, 2])
    def test_a_cut_inside_a_character(self, tmp_path: Path, shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
        # The first cut is at 64 KiB; one of three shifts puts a letter of three bytes across it.
        name = 'x' * shift + '信' * 30_000
        path = write(tmp_path / 'w.json', dict(categories=[dict(name=name), dict(name='b')], images=[]))
        monkeypatch.setattr(files, '_table_of_json', None)
        assert Vocabulary.from_file(path).words == (name, 'b')

    @pytest.mark.parametrize(
        'content',
        [
            ['a', 'b'],
            dict(words=['a', 'b']),
            dict(images=[dict(categories=[dict(name='x')])], categories=[dict(name='a'), dict(name='b')]),
            dict(info='the "categories": [1] of', categories=[dict(name='a'), dict(name='b')]),
            dict(info='categories', categories=[dict(name='a'), dict(name='b')]),
        ],
    )
    def test_other_layouts(self, tmp_path: Path, content: object) -> None:
        assert Vocabulary.from_file(write(tmp_path / 'w.json', content)).words == ('a', 'b')

    def test_damage_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match=r'is not valid JSON \(line 1'):
            Vocabulary.from_file(write(tmp_path / 'w.json', '{"categories": [{"name": "a"}, {"na'))
        path = tmp_path / 'latin.json'
        path.write_bytes(b'{"categories": [{"name": "S\xe4ge"}]}')
        with pytest.raises(VocabularyError, match=r'is not UTF-8 text \(byte 27\)'):
            Vocabulary.from_file(path)


def holds(suffix: str, words: list[str]) -> bool:
    """Whether a format can hold these words: text drops white space around words and empty lines at the end."""
    return suffix == 'json' or (
        all(word == word.strip() and not {'\n', '\r'} & set(word) for word in words) and words[-1:] != ['']
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=6), max_size=5), st.sampled_from(['txt', 'json']))
def test_any_words_come_back_or_are_refused(words: list[str], suffix: str) -> None:
    text = json.dumps(words) if suffix == 'json' else '\n'.join(words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'words.{suffix}'
        path.write_bytes(text.encode('utf-8', 'surrogatepass'))
        try:
            read: Any = Vocabulary.from_file(path)
        except VocabularyError:
            read = None
        try:
            expected = Vocabulary.from_words(words)
        except VocabularyError:
            assert read is None or not holds(suffix, words)
            return
    if holds(suffix, words):
        assert read == expected
