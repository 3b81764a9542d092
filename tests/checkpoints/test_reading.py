import datetime
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from vlm_dense.checkpoints import read_checkpoint
from vlm_dense.errors import CheckpointError, MissingFileError


class Calls:
    """An object that calls a function when a file with it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def save(folder, content, **options):
    path = folder / 'checkpoint.pth'
    torch.save(content, path, **options)
    return path


def history(values):
    buffer = HistoryBuffer()
    for value in values:
        buffer.update(value)
    return buffer


@pytest.mark.parametrize('new_format', [True, False])
def test_types_of_mmengine_are_read(tmp_path, new_format):
    numbers = [np.bool_(True), np.int64(-3), np.uint8(7), np.float32(0.5), np.float64(0.25), np.float16(2)]
    content = {'loss': history([4, 2.0]), 'numbers': numbers, 'table': np.arange(6.0).reshape(2, 3)}
    found = read_checkpoint(save(tmp_path, content, _use_new_zipfile_serialization=new_format))
    assert isinstance(found['loss'], HistoryBuffer)
    assert (found['loss'].mean(), found['loss'].max(), found['loss'].current()) == (3.0, 4.0, 2.0)
    assert found['numbers'] == numbers
    assert [type(number) for number in found['numbers']] == [type(number) for number in numbers]
    np.testing.assert_array_equal(found['table'], content['table'])


@pytest.mark.parametrize('old_home', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_arrays_of_either_numpy_are_read(tmp_path, old_home):
    """numpy 1 and 2 keep the functions that rebuild arrays and numbers under different names."""
    path = tmp_path / 'old.pth'
    rebuild, args, state = np.arange(3.0).__reduce__()
    number_rebuild, number_args = np.float64(1.5).__reduce__()[:2]
    path.write_bytes(_legacy_file(old_home, args, state, number_args))
    assert rebuild.__name__ == '_reconstruct'
    assert number_rebuild.__name__ == 'scalar'
    found = read_checkpoint(path)
    np.testing.assert_array_equal(found['array'], [0.0, 1.0, 2.0])
    assert found['number'] == 1.5


def _legacy_file(home, args, state, number_args):
    """A file as torch wrote it before zip files: magic number, protocol, system, content, storages."""

    class Rebuilt:
        def __init__(self, *parts):
            self.parts = parts

        def __reduce__(self):
            return self.parts

    content = {
        'array': Rebuilt(_named('_reconstruct', home), args, state),
        'number': Rebuilt(_named('scalar', home), number_args),
    }
    header = [0x1950A86A20F9469CFC6C, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}}]
    return b''.join(_dump(part) for part in [*header, content, []])


def _named(name, home):
    return type('Named', (), {'name': name, 'home': home})


class _Pickler(pickle._Pickler):
    """Writes a stand-in class as a global of the wished name; C's pickler would look the name up."""

    def save_global(self, obj, name=None):
        if hasattr(obj, 'home'):
            self.write(pickle.GLOBAL + f'{obj.home}\n{obj.name}\n'.encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch = {**pickle._Pickler.dispatch, type: save_global}

    def save_reduce(self, func, args, state=None, *rest, **kwargs):
        if hasattr(func, 'home'):
            self.save_global(func)
            self.save(args)
            self.write(pickle.REDUCE)
            if state is not None:
                self.save(state)
                self.write(pickle.BUILD)
        else:
            super().save_reduce(func, args, state, *rest, **kwargs)


def _dump(part):
    import io

    out = io.BytesIO()
    _Pickler(out, protocol=2).dump(part)
    return out.getvalue()


@pytest.mark.parametrize('new_format', [True, False])
@pytest.mark.parametrize('function', [os.mkdir, eval])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, new_format, function):
    planted = tmp_path / 'planted'
    argument = f'__import__("os").mkdir({str(planted)!r})' if function is eval else str(planted)
    content = {'state_dict': {'weight': torch.ones(2)}, 'meta': Calls(function, argument)}
    path = save(tmp_path, content, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert not planted.exists()
    assert str(path) in str(caught.value)
    assert function.__name__ in str(caught.value)
    assert 'safetensors' in str(caught.value)


def test_the_planted_code_would_have_run(tmp_path):
    planted = tmp_path / 'planted'
    torch.load(save(tmp_path, {'meta': Calls(os.mkdir, str(planted))}), weights_only=False)
    assert planted.exists()


@pytest.mark.parametrize(
    ('owner', 'name'), [(np.ndarray, '__subclasses__'), (HistoryBuffer, '__init__'), (HistoryBuffer, 'update')]
)
def test_getattr_is_open_to_the_four_statistics_only(tmp_path, owner, name):
    path = save(tmp_path, {'meta': Calls(getattr, owner, name)})
    with pytest.raises(CheckpointError, match=rf'getattr\({owner.__name__},{name}\)'):
        read_checkpoint(path)


def test_all_refused_types_are_named(tmp_path):
    path = save(tmp_path, {'a': Calls(os.mkdir, 'x'), 'b': datetime.date(2020, 1, 1)})
    with pytest.raises(CheckpointError, match=r'datetime\.date, \w+\.mkdir'):
        read_checkpoint(path)


def test_reading_leaves_torchs_own_list_as_it_was(tmp_path):
    path = save(tmp_path, {'loss': history([1])})
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    with torch.serialization.safe_globals([np.ndarray]):
        read_checkpoint(path)
        assert np.ndarray in torch.serialization.get_safe_globals()


def test_safetensors(tmp_path):
    path = tmp_path / 'weights.safetensors'
    save_file({'weight': torch.arange(3.0)}, path, metadata={'format': 'pt'})
    for map_location in (None, 'cpu', torch.device('cpu')):
        found = read_checkpoint(str(path), map_location)
        torch.testing.assert_close(found['state_dict']['weight'], torch.arange(3.0))
        assert found['meta'] == {'format': 'pt'}


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save(tmp_path, {'state_dict': {}})
    assert read_checkpoint('~/checkpoint.pth') == {'state_dict': {}}


def test_ordered_state_keeps_versions_of_modules(tmp_path):
    state = torch.nn.BatchNorm2d(3).state_dict()
    found = read_checkpoint(save(tmp_path, state))
    assert isinstance(found, OrderedDict)
    assert found._metadata == state._metadata


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('damage', ['empty', 'cut', 'foreign'])
def test_damaged_files_say_so(tmp_path, suffix, damage):
    path = tmp_path / f'file{suffix}'
    weights = {'weight': torch.arange(1000.0)}
    save_file(weights, path) if suffix == '.safetensors' else torch.save(weights, path)
    whole = path.read_bytes()
    path.write_bytes({'empty': b'', 'cut': whole[: len(whole) // 2], 'foreign': b'<html>404</html>'}[damage])
    with pytest.raises(CheckpointError, match=r'cannot be read as a checkpoint') as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert 'weights_only' not in str(caught.value)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_a_plain_pickle_is_not_unpickled(tmp_path):
    path, planted = tmp_path / 'plain.pth', tmp_path / 'planted'
    for protocol in range(6):
        path.write_bytes(pickle.dumps({'a': Calls(os.mkdir, str(planted))}, protocol=protocol))
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert 'likely succeed' not in str(caught.value)  # torch's own advice
    assert not planted.exists()


def test_not_a_mapping(tmp_path):
    with pytest.raises(CheckpointError, match='holds a list'):
        read_checkpoint(save(tmp_path, [1, 2]))


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r'nowhere\.pth. does not exist.*safetensors'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    with pytest.raises(MissingFileError, match='is a folder'):
        read_checkpoint(tmp_path)
