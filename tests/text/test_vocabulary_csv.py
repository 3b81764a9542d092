import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_dense.errors import VocabularyError
from vlm_dense.text import Vocabulary


def write(folder: Path, text: str) -> Path:
    path = folder / 'words.csv'
    path.write_bytes(text.encode())
    return path


def test_every_column(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '\ufeffFrequency, word ,synonyms,definition,base,thing\r\n'
        'f,cat,kitty; tomcat|CAT,"a feline, at home",1,TRUE\r\n'
        'r,信号機,,,no,0\r\n',
    )
    assert Vocabulary.from_file(path) == Vocabulary(
        ('cat', '信号機'),
        (True, False),
        synonyms=(('kitty', 'tomcat'), ()),
        definitions=('a feline, at home', None),
        is_thing=(True, False),
        frequency=('f', 'r'),
    )


@pytest.mark.parametrize(
    ('text', 'is_base'),
    [
        ('name,seen\na,yes\nb,no\n', (True, False)),
        ('name,novel\na,yes\nb,no\n', (False, True)),
        ('name,unseen\na,1\nb,0\n', (False, True)),
        ('name,frequency\na,r\nb,c\n', (False, True)),
        ('name,frequency,base\na,r,1\nb,c,0\n', (True, False)),
        ('name\na\nb\n', (False, False)),
    ],
)
def test_base_flags(tmp_path: Path, text: str, is_base: tuple[bool, ...]) -> None:
    assert Vocabulary.from_file(write(tmp_path, text)).is_base == is_base
    assert Vocabulary.from_file(write(tmp_path, text), base=['b']).is_base == (False, True)


def test_empty_rows_at_the_ends_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, '\nword,definition\n"a, b",c\n,\n\n')
    assert Vocabulary.from_file(path) == Vocabulary(('a, b',), (False,), definitions=('c',))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', "has no column 'word' or 'name'"),
        ('synonyms\na\n', "has no column 'word' or 'name'"),
        ('cat\ndog\n', r"has a column 'cat'.*The first line names the columns.*known are word, name, synonyms"),
        ('word;synonyms\na;b\n', "a column 'word;synonyms'.*separated by commas"),
        ('word,synonym\na,b\n', "has a column 'synonym'; did you mean 'synonyms'"),
        ('word,name\na,b\n', "the columns 'word' and 'name', which say the same"),
        ('word,base,novel\na,1,0\n', 'marks both base and novel words'),
        ('word,base\na,1\nb,maybe\n', "'base' in row 2 of words.csv below its header is 'maybe'. Write one of 1, true"),
        ('word,thing\na,\n', "'thing' in row 1 of words.csv below its header is ''"),
        ('word,frequency\na,\n', "the frequency in row 1 of words.csv below its header is ''"),
        ('word,definition\na,b,c\n', "line 2 of '.*words.csv' has 3 cells where the header has 2. Put double quotes"),
        ('word,definition\na\n', "line 2 of '.*words.csv' has 1 cells"),
        ('word\n"a\nb\n', "line 3 of '.*words.csv' is not CSV"),
        ('word\na\n\nb\n', 'row 2 of words.csv below its header is empty'),
        ('word\na\nA\n', r"'a' and 'A' are the same class .*rows 1 and 2 of words.csv below its header"),
        ('word\n', 'words.csv below its header holds no words'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.from_file(write(tmp_path, text))


def test_synonyms_are_listed_once(tmp_path: Path) -> None:
    path = write(tmp_path, 'word,synonyms\na,b\n')
    with pytest.raises(VocabularyError, match='lists its synonyms already'):
        Vocabulary.from_file(path, synonym_separator=',')


# Python 3.10's csv cannot write NUL.
TEXT = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.booleans()), min_size=1, max_size=4))
def test_any_table_comes_back_or_is_refused(rows: list[tuple[str, str, bool]]) -> None:
    rows = [(word.strip(), definition.strip(), flag) for word, definition, flag in rows]
    words = [word for word, _, _ in rows]
    text = io.StringIO(newline='')
    writer = csv.writer(text)
    writer.writerow(['word', 'definition', 'base'])
    writer.writerows([(word, definition, int(flag)) for word, definition, flag in rows])
    try:
        expected = Vocabulary.from_words(
            words,
            base=[word for word, _, flag in rows if flag],
            definitions=[definition or None for _, definition, _ in rows],
        )
    except VocabularyError:
        expected = None
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text.getvalue())
        if expected is None:
            with pytest.raises(VocabularyError):
                Vocabulary.from_file(path)
        else:
            assert Vocabulary.from_file(path) == expected
