"""tools/data/frequent_words.py on maps counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_modules import tool_module

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.text.vocabulary import Vocabulary

tool = tool_module('data/frequent_words')


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Six words: 'hat' on three maps, 'cap' on two, 'cup' and 'pan' on one; 300 words stand between them."""
    words = ['cup', 'hat', 'pan', *(f'filler {number}' for number in range(300)), 'cap']
    synonyms = [['mug'], *([[]] * (len(words) - 1))]
    (tmp_path / 'words.json').write_text(json.dumps(dict(words=words, synonyms=synonyms)))
    maps = tmp_path / 'maps'
    maps.mkdir()
    for number, labels in enumerate(([1, 1, 303, 65535], [1, 303, 303, 303], [1, 0, 2, 65535])):
        Image.fromarray(np.array([labels, labels], np.uint16)).save(maps / f'{number}.tif')
    return [str(maps), '--words', str(tmp_path / 'words.json'), '--out', str(tmp_path / 'split' / 'out.json')]


def test_words_on_the_most_pictures_are_base(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tool.main([*arguments, '--base', '3'])
    assert '3 base words on 1 pictures or more, the others on 1 or fewer' in capsys.readouterr().out
    vocabulary = Vocabulary.build(dict(file=str(tmp_path / 'split' / 'out.json')))
    base = [word for word, is_base in zip(vocabulary.words, vocabulary.is_base, strict=True) if is_base]
    assert base == ['cup', 'hat', 'cap'], 'of cup and pan the first in the list'
    assert len(vocabulary) == 304
    assert vocabulary.names(0) == ('cup', 'mug')


def test_numbers_that_are_no_words_and_folders_without_maps_are_told(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r'holds no \.tif or \.png'):
        tool.main([str(tmp_path), *arguments[1:], '--base', '3'])
    (tmp_path / 'words.json').write_text(json.dumps(dict(words=['cup', 'hat', 'pan'])))
    with pytest.raises(DataError, match=r'0\.tif holds 303, but there are 3 words'):
        tool.main([*arguments, '--base', '2'])
    with pytest.raises(SystemExit):
        tool.main([*arguments, '--base', '3'])
