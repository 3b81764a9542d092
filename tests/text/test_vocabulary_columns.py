import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_dense.errors import VocabularyError
from vlm_dense.text import Vocabulary
from vlm_dense.text.word_checks import normalise_word

COLUMNS: dict[str, Any] = dict(
    synonyms=(('kitten', 'tomcat'), (), ('people',)),
    definitions=('a feline', None, 'a human'),
    is_thing=(True, False, True),
    frequency=('f', 'r', 'c'),
)


def vocabulary(**changes: Any) -> Vocabulary:
    return Vocabulary(('cat', 'sky', 'person'), (True, False, False), **{**COLUMNS, **changes})


def test_names_and_definitions() -> None:
    words = vocabulary()
    assert words.names(0) == ('cat', 'kitten', 'tomcat')
    assert words.names(1) == ('sky',)
    assert (words.definition(0), words.definition(1)) == ('a feline', None)
    bare = Vocabulary.from_words(['cat'])
    assert bare.names(0) == ('cat',)
    assert bare.definition(0) is None


def test_index_does_not_look_at_synonyms() -> None:
    with pytest.raises(VocabularyError, match="'kitten' is not among"):
        vocabulary().index('kitten')


def test_take_permutes_all_columns_together() -> None:
    words, rows = vocabulary(), (2, 0, 1)
    taken = words.take(rows)
    for name in ('words', 'is_base', *COLUMNS):
        assert getattr(taken, name) == tuple(getattr(words, name)[row] for row in rows)
    assert taken.take((1, 2, 0)) == words
    assert words.take(iter([1])).synonyms == ()


@pytest.mark.parametrize('row', [3, -1, True, 0.0, 'cat'])
def test_take_refuses_what_is_no_row(row: Any) -> None:
    with pytest.raises(VocabularyError, match='is no row of a vocabulary of 3'):
        vocabulary().take([row])


def test_take_refuses_a_row_twice_and_none_at_all() -> None:
    with pytest.raises(VocabularyError, match="'sky' and 'sky' are the same class"):
        vocabulary().take([1, 1])
    with pytest.raises(VocabularyError, match='holds no words'):
        vocabulary().take([])


def test_select_keeps_the_columns() -> None:
    assert vocabulary().select(is_base=False) == vocabulary().take([1, 2])
    assert vocabulary().select(is_base=True).synonyms == (('kitten', 'tomcat'),)


def test_columns_without_content_are_absent() -> None:
    bare = Vocabulary(('cat', 'sky', 'person'), (True, False, False))
    assert Vocabulary(bare.words, bare.is_base, synonyms=((), (), ()), definitions=(None,) * 3) == bare
    assert vocabulary(is_thing=(False,) * 3) != vocabulary(is_thing=())


def test_lists_and_ones_make_the_same_vocabulary() -> None:
    again = Vocabulary.from_words(
        ['cat', 'sky', 'person'],
        base=['cat'],
        synonyms=[['kitten', 'tomcat'], [], ['people']],
        definitions=['a feline', None, 'a human'],
        is_thing=[1, 0, 1],
        frequency=['f', 'r', 'c'],
    )
    assert again == vocabulary() == pickle.loads(pickle.dumps(vocabulary()))
    assert len({again, vocabulary()}) == 1


def test_content_hash_sees_every_column() -> None:
    changes: list[dict] = [
        {},
        *({name: ()} for name in COLUMNS),
        dict(synonyms=(('kitten',), ('tomcat',), ('people',))),
        dict(synonyms=(('tomcat', 'kitten'), (), ('people',))),
        dict(definitions=('a feline', 'a human', None)),
        dict(is_thing=(True, True, True)),
        dict(frequency=('f', 'r', 'r')),
    ]
    hashes = {vocabulary(**change).content_hash for change in changes}
    assert len(hashes) == len(changes)
    # The same on every machine and in every process: caches are found by it.
    assert vocabulary().content_hash == '4e6485ecb5bce58284464ca537f0c7da786ca073b415be2fac0a32f5e80769a3'


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        (dict(synonyms=[['a']]), '3 words came with 1 lists of synonyms'),
        (dict(definitions=['a'] * 4), '3 words came with 4 definitions'),
        (dict(is_thing=[True]), '3 words came with 1 thing flags'),
        (dict(frequency=['f'] * 2), '3 words came with 2 frequencies'),
        (dict(synonyms=['kitten', 'x', 'y']), "synonyms in row 1 of the list of words are 'kitten', not a list"),
        (dict(synonyms=[[], [3], []]), 'a synonym in row 2 .* is 3, not a string'),
        (dict(synonyms=[[], [' '], []]), 'a synonym in row 2 .* is empty'),
        (dict(synonyms=[[], ['Heaven', 'heaven'], []]), r"'heaven' stands twice among 'sky' .*row 2"),
        (dict(synonyms=[['CAT'], [], []]), r"'CAT' stands twice among 'cat' .*row 1"),
        (dict(definitions=[None, '', None]), 'the definition in row 2 .* is empty'),
        (dict(definitions=[None, None, 7]), 'the definition in row 3 .* is 7'),
        (dict(is_thing=[True, 'no', False]), "'is_thing' in row 2 .* is 'no'. Write true or false"),
        (dict(is_thing=[True, None, False]), "'is_thing' in row 2"),
        (dict(frequency=['f', 'rare', 'c']), "the frequency in row 2 .* is 'rare'"),
        (dict(definitions='abc'), "'definitions' is str. Give a list with one entry per word"),
        (dict(definitions={'cat': 'a', 'sky': 'b', 'person': 'c'}), "'definitions' is dict"),
        (dict(definition=['a'] * 3), "unknown column 'definition'; did you mean 'definitions'"),
    ],
)
def test_mistakes(columns: dict, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_words(['cat', 'sky', 'person'], **columns)


def test_base_flags_are_flags() -> None:
    with pytest.raises(VocabularyError, match="'is_base' in row 2 of the list of words is 'no'"):
        Vocabulary(('a', 'b'), (True, 'no'))  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match='2 words came with 0 base flags'):
        Vocabulary(('a', 'b'), ())


def test_words_may_share_synonyms() -> None:
    words = Vocabulary.from_words(['suitcase', 'handbag', 'bag'], synonyms=[['bag'], ['bag', 'purse'], []])
    assert words.names(1) == ('handbag', 'bag', 'purse')
    assert words.index('bag') == 2


TEXT = st.text(st.characters(), min_size=1, max_size=8)


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    """Lists of any strings with any columns, surrogates and control characters included; some cannot be used."""
    words = draw(st.lists(TEXT, min_size=1, max_size=5, unique_by=normalise_word))
    entries = dict(
        synonyms=st.lists(TEXT, max_size=2),
        definitions=st.none() | TEXT,
        is_thing=st.booleans(),
        frequency=st.sampled_from('rcf'),
    )
    chosen = draw(st.sets(st.sampled_from(sorted(entries))))
    size = len(words)
    lists = {name: draw(st.lists(entries[name], min_size=size, max_size=size)) for name in sorted(chosen)}
    return dict(words=words, base=draw(st.lists(st.sampled_from(words), unique=True)), **lists)


@settings(max_examples=150, deadline=None)
@given(columns(), st.randoms(use_true_random=False))
def test_any_columns_are_kept_and_permuted_or_refused(spec: dict[str, Any], random: Any) -> None:
    try:
        words = Vocabulary.build(spec)
    except VocabularyError as error:
        str(error).encode()
        return
    assert list(words.words) == spec['words']
    assert [list(words.names(row)[1:]) for row in range(len(words))] == spec.get('synonyms', [[]] * len(words))
    # Whatever can be built can be written as UTF-8 JSON and read again.
    again = Vocabulary.build(json.loads(json.dumps(words.as_spec(), ensure_ascii=False).encode()))
    assert again == words
    assert again.content_hash == words.content_hash
    rows = random.sample(range(len(words)), len(words))
    taken = words.take(rows)
    for place, row in enumerate(rows):
        assert taken.words[place] == words.words[row]
        assert taken.is_base[place] == words.is_base[row]
        assert taken.names(place) == words.names(row)
        assert taken.definition(place) == words.definition(row)
    assert (taken.content_hash == words.content_hash) == (rows == sorted(rows))
    for name in COLUMNS:
        assert bool(getattr(taken, name)) == bool(getattr(words, name))


def test_one_name_in_common_letter_by_letter_makes_a_word_seen() -> None:
    trained = dict(words=['cat', 'Sky', 'people'], synonyms=[['kitten'], [], []])
    words = dict(words=['tabby', 'sky', 'person', 'cat'], synonyms=[['kitten', 'house cat'], [], ['people'], []])
    asked = Vocabulary.build({**words, 'seen_in': trained})
    assert asked.is_base == (True, False, True, True)
    assert asked == Vocabulary.build(words).seen_in(Vocabulary.build(trained))
    assert Vocabulary.build({**words, 'seen_in': trained, 'only': 'novel'}).words == ('sky',)
    assert not any(Vocabulary.build({**words, 'seen_in': ['dog']}).is_base)
    with pytest.raises(VocabularyError, match="'base' and 'seen_in' of a vocabulary say the same"):
        Vocabulary.build({**words, 'base': ['sky'], 'seen_in': trained})
