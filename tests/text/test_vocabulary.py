import hashlib
import json
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_dense.errors import MissingFileError, VocabularyError
from vlm_dense.text import Vocabulary
from vlm_dense.text.vocabulary import normalise_word


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding='utf-8')
    return path


class TestWords:
    def test_keeps_the_callers_strings_and_order(self) -> None:
        words = ['Zebra', ' cat ', 'Fußgänger', '信号機', '🙂']
        vocabulary = Vocabulary.from_words(words, base=['zebra', 'fussgänger'])
        assert list(vocabulary.words) == words
        assert vocabulary.is_base == (True, False, True, False, False)
        assert len(vocabulary) == 5

    @pytest.mark.parametrize(
        ('first', 'second'),
        [('cat', 'Cat'), ('cat', ' cat\t'), ('café', 'cafe\u0301'), ('traffic light', 'traffic  light'), ('ß', 'SS')],
    )
    def test_duplicates_are_found_after_normalisation(self, first: str, second: str) -> None:
        with pytest.raises(VocabularyError, match=r'rows 2 and 4 of the list of words\)\. Remove one\.'):
            Vocabulary.from_words(['a', first, 'b', second])

    def test_similar_words_are_not_duplicates(self) -> None:
        assert len(Vocabulary.from_words(['bat', 'bät', 'bat (animal)', 'b at'])) == 4

    @pytest.mark.parametrize('empty', ['', '  ', '\u200b', '\n'])
    def test_empty_words_are_refused_with_their_row(self, empty: str) -> None:
        with pytest.raises(VocabularyError, match='row 2 of the list of words is empty'):
            Vocabulary.from_words(['cat', empty])

    def test_no_words(self) -> None:
        with pytest.raises(VocabularyError, match='holds no words'):
            Vocabulary.from_words([])

    def test_a_single_string_is_not_a_list_of_words(self) -> None:
        with pytest.raises(VocabularyError, match=re.escape("Write ['cat']")):
            Vocabulary.from_words('cat')

    @pytest.mark.parametrize(
        ('word', 'message'),
        [
            ('d\ud800g', r'row 2 .* holds half of a surrogate pair, U\+D800'),
            ('\udcff', r'row 2 .* holds half of a surrogate pair, U\+DCFF'),
            ('d\0g', r'row 2 .* holds a control character, U\+0000'),
            ('dog\x7f', r'row 2 .* holds a control character, U\+007F'),
        ],
    )
    def test_characters_that_cannot_be_written(self, word: str, message: str) -> None:
        for words, columns in [(['cat', word], {}), (['a', 'b'], {'synonyms': [[], [word]]})]:
            with pytest.raises(VocabularyError, match=message) as caught:
                Vocabulary.from_words(words, **columns)
            str(caught.value).encode()
        with pytest.raises(VocabularyError, match=message):
            Vocabulary.from_words(['a', 'b'], definitions=[None, word])
        with pytest.raises(VocabularyError, match='is not among') as caught:
            Vocabulary.from_words(['cat']).index(word)
        str(caught.value).encode()

    def test_dedupe_keeps_the_first(self) -> None:
        words = ['cat', 'dog', 'Cat', 'DOG ', 'cow']
        vocabulary = Vocabulary.from_words(words, base=['dog'], dedupe=True, definitions=list('abcde'))
        assert vocabulary == Vocabulary(('cat', 'dog', 'cow'), (False, True, False), definitions=('a', 'b', 'e'))

    def test_not_a_string(self) -> None:
        with pytest.raises(VocabularyError, match='row 2 of the list of words is 7, not a string'):
            Vocabulary.from_words(['cat', 7])  # type: ignore[list-item]

    def test_base_words_must_be_words(self) -> None:
        with pytest.raises(VocabularyError, match=r"1 base word\(s\) .* 'traffic ligth'; did you mean 'traffic light'"):
            Vocabulary.from_words(['traffic light', 'car'], base=['car', 'traffic ligth'])

    def test_flags_must_match_words(self) -> None:
        with pytest.raises(VocabularyError, match='2 words came with 1 base flags'):
            Vocabulary(('a', 'b'), (True,))

    def test_index(self) -> None:
        vocabulary = Vocabulary.from_words(['stop sign', 'CAFÉ'])
        assert vocabulary.index('café') == 1
        with pytest.raises(VocabularyError, match="'stop sing' is not among the 2 words; did you mean 'stop sign'"):
            vocabulary.index('stop sing')

    def test_select(self) -> None:
        vocabulary = Vocabulary.from_words(['c', 'a', 'b'], base=['b', 'c'])
        assert vocabulary.select(is_base=True).words == ('c', 'b')
        assert vocabulary.select(is_base=False) == Vocabulary(('a',), (False,))
        with pytest.raises(VocabularyError, match='none of the 1 words is base'):
            vocabulary.select(is_base=False).select(is_base=True)

    def test_equal_hashable_picklable(self) -> None:
        vocabulary = Vocabulary.from_words(['a', 'b'], base=['a'])
        again = Vocabulary(['a', 'b'], [1, 0])  # type: ignore[arg-type]
        assert vocabulary == again == pickle.loads(pickle.dumps(vocabulary))
        assert len({vocabulary, again}) == 1

    def test_content_hash_sees_words_order_and_flags(self) -> None:
        hashes = {
            Vocabulary.from_words(words, base).content_hash
            for words, base in [(['a', 'b'], ()), (['b', 'a'], ()), (['a', 'b'], ['a']), (['ab'], ()), (['a,b'], ())]
        }
        assert len(hashes) == 5
        assert Vocabulary.from_words(['a', 'b']).content_hash == Vocabulary.from_words(['a', 'b']).content_hash

    def test_content_hash_of_bare_words_stays(self) -> None:
        # SHA-256 of '[["a", "\\u00e4"], [true, false]]'; a changed hash would make every cached bank stale.
        expected = hashlib.sha256(b'[["a", "\\u00e4"], [true, false]]').hexdigest()
        assert expected == '37289037da5708463ca4221108e0e0b512bdac711d98135daefdf4cf5355a26b'
        assert Vocabulary.from_words(['a', 'ä'], base=['a']).content_hash == expected

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.text(min_size=1), max_size=6))
    def test_any_text_is_kept_or_refused_with_a_user_error(self, words: list[str]) -> None:
        try:
            vocabulary = Vocabulary.from_words(words)
        except VocabularyError:
            return
        assert list(vocabulary.words) == words
        assert [vocabulary.index(word) for word in words] == list(range(len(words)))

    @settings(max_examples=50, deadline=None)
    @given(st.text())
    def test_normalisation_is_idempotent(self, word: str) -> None:
        assert normalise_word(normalise_word(word)) == normalise_word(word)


class TestFiles:
    def test_text(self, tmp_path: Path) -> None:
        path = tmp_path / 'words.txt'
        path.write_bytes('\ufeffcat\r\ntraffic light  \r\nsäge\r\n\r\n'.encode())
        assert Vocabulary.from_file(path).words == ('cat', 'traffic light', 'säge')

    def test_duplicate_names_rows_and_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'vocab.txt', 'a\nb\ntraffic light\nd\nTraffic light\n')
        message = (
            "'traffic light' and 'Traffic light' are the same class after normalisation "
            '(rows 3 and 5 of vocab.txt). Remove one.'
        )
        with pytest.raises(VocabularyError, match=re.escape(message)):
            Vocabulary.from_file(path)

    def test_blank_row_inside(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match=r'row 2 of vocab.txt is empty'):
            Vocabulary.from_file(write(tmp_path / 'vocab.txt', 'a\n\nb\n'))

    def test_empty_file(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match=r'vocab.txt holds no words'):
            Vocabulary.from_file(write(tmp_path / 'vocab.txt', '\n'))

    def test_json_list(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'vocab.json', ['b', 'a'])
        assert Vocabulary.from_file(path, base=['a']) == Vocabulary(('b', 'a'), (False, True))

    def test_json_words_and_base(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'vocab.json', {'words': ['b', 'a'], 'base': ['B'], 'seed': 3})
        assert Vocabulary.from_file(path).is_base == (True, False)
        assert Vocabulary.from_file(path, base=['a']).is_base == (False, True)

    def test_base_may_be_a_file(self, tmp_path: Path) -> None:
        base = write(tmp_path / 'base.txt', 'a\n')
        assert Vocabulary.from_words(['b', 'a'], base=str(base)).is_base == (False, True)

    def test_coco_categories_keep_the_files_order(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'coco.json', {'categories': [{'id': 2, 'name': 'b'}, {'id': 1, 'name': 'a'}]})
        assert Vocabulary.from_file(path) == Vocabulary(('b', 'a'), (False, False))

    def test_lvis_rare_words_are_novel(self, tmp_path: Path) -> None:
        categories = [{'name': name, 'frequency': name} for name in 'frc']
        path = write(tmp_path / 'lvis.json', {'categories': categories, 'images': []})
        assert Vocabulary.from_file(path).is_base == (True, False, True)

    @pytest.mark.parametrize('content', [{}, {'words': 'cat'}, 3, {'word': ['cat']}])
    def test_json_without_words(self, tmp_path: Path, content: object) -> None:
        with pytest.raises(VocabularyError, match='holds no words'):
            Vocabulary.from_file(write(tmp_path / 'vocab.json', content))

    def test_category_without_name(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match=r"category 2 of .* has no 'name'"):
            Vocabulary.from_file(write(tmp_path / 'vocab.json', {'categories': [{'name': 'a'}, {'id': 3}]}))

    def test_broken_json_names_the_place(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match=r'not valid JSON .line 2'):
            Vocabulary.from_file(write(tmp_path / 'vocab.json', '["a",\n'))

    def test_deep_json(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match='cannot be read as JSON'):
            Vocabulary.from_file(write(tmp_path / 'vocab.json', '[' * 100_000))

    def test_bad_base(self, tmp_path: Path) -> None:
        with pytest.raises(VocabularyError, match=r"'base' of .* must be a list of strings"):
            Vocabulary.from_file(write(tmp_path / 'vocab.json', {'words': ['a'], 'base': 'a'}))

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match='there is no vocabulary file'):
            Vocabulary.from_file(tmp_path / 'none.txt')

    def test_wrong_encoding(self, tmp_path: Path) -> None:
        path = tmp_path / 'latin.txt'
        path.write_bytes('ok\nS\xe4ge'.encode('latin-1'))
        with pytest.raises(VocabularyError, match=r'not UTF-8 text \(byte 4\)'):
            Vocabulary.from_file(path)

    @pytest.mark.parametrize('suffix', ['txt', 'csv', 'json'])
    def test_sixteen_bit_text(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f'vocab.{suffix}'
        path.write_bytes('["cat"]'.encode('utf-16'))
        with pytest.raises(VocabularyError, match=r'not UTF-8 text \(byte 0\)'):
            Vocabulary.from_file(path)


class TestBuild:
    def test_every_form(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'vocab.json', {'words': ['b', 'a'], 'base': ['b']})
        expected = Vocabulary(('b', 'a'), (True, False))
        for spec in (expected, path, str(path), {'file': str(path)}, {'words': ['b', 'a'], 'base': ['b']}):
            assert Vocabulary.build(spec) == expected
        assert Vocabulary.build(('b', 'a')) == Vocabulary(('b', 'a'), (False, False))

    def test_mmengine_config(self) -> None:
        from mmengine import Config

        config = Config({'vocabulary': {'words': ['b', 'a'], 'base': ['b'], 'only': 'base'}})
        assert Vocabulary.build(config.vocabulary).words == ('b',)

    def test_columns(self) -> None:
        spec = {'words': ['b', 'a'], 'base': ['a'], 'definitions': [None, 'first'], 'synonyms': None, 'only': 'base'}
        assert Vocabulary.build(spec) == Vocabulary(('a',), (True,), definitions=('first',))

    def test_a_name_that_is_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ('cat', 'cat, dog', 'x' * 500, '', 'a\0b', '\ud800'):
            with pytest.raises(MissingFileError, match='there is no vocabulary file') as caught:
                Vocabulary.build(name)
            str(caught.value).encode()

    def test_only(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'vocab.json', {'words': ['b', 'a'], 'base': ['b']})
        assert Vocabulary.build({'file': path, 'only': 'novel'}).words == ('a',)

    @pytest.mark.parametrize(
        ('spec', 'message'),
        [
            ({'words': ['a'], 'file': 'x'}, "either 'words' or 'file'"),
            ({'base': ['a']}, "either 'words' or 'file'"),
            ({'words': ['a'], 'bases': ['a']}, "unknown key 'bases'"),
            ({'words': ['a'], 'only': 'seen'}, "only='seen'"),
            (3, 'cannot be made from int'),
            ({'a', 'b'}, 'cannot be made from set'),
            ({'words': {'a', 'b'}}, 'the words are set, not a list'),
            ({'words': None}, 'the words are NoneType'),
            ({'words': ['a'], 'base': 3}, 'the base words are int'),
            ({'words': ['a'], 'base': [3]}, '3 is among the base words'),
            ({'words': ['a'], 'dataset': 'coco'}, "either 'words' or 'file' or 'dataset'"),
            ({'words': ['a'], 'numbered': True}, "'numbered' goes with 'file', not with 'words'"),
            ({'file': 'a.txt', 'synonyms': [['b']]}, "'synonyms' goes with 'words', not with 'file'"),
            ({'file': ['a']}, 'Write a path'),
        ],
    )
    def test_mistakes(self, spec: object, message: str) -> None:
        with pytest.raises(VocabularyError, match=message):
            Vocabulary.build(spec)
