"""An archive like OpenAI's is made here by tracing a tiny CLIP; its weights are read without its code."""

import io
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import open_clip
import pytest
import torch

from vlm_dense.checkpoints import read_checkpoint
from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.checkpoints.openai_archive import is_archive, is_openai_archive
from vlm_dense.errors import CheckpointError

NUMBERS = {'input_resolution': 32, 'context_length': 8, 'vocab_size': 99}
pytestmark = pytest.mark.filterwarnings('ignore:.*torch.jit', 'ignore::torch.jit.TracerWarning')

IMAGE, TEXT = torch.ones(1, 3, 32, 32), torch.arange(8)[None]


@pytest.fixture
def model(tiny: str) -> torch.nn.Module:
    torch.manual_seed(3)
    return open_clip.create_model(f'{tiny}-quickgelu').eval()


@pytest.fixture
def archive(model: torch.nn.Module, tmp_path: Path) -> Path:
    """Matrices in half precision and norms in single, as in OpenAI's files."""
    model = deepcopy(model)
    for name, number in NUMBERS.items():
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(number))
    with torch.no_grad():
        traced = torch.jit.trace(model, (IMAGE, TEXT), check_trace=False)
        for parameter in traced.parameters():
            if parameter.ndim == 2:
                parameter.data = parameter.data.half()
    path = tmp_path / 'ViT-tiny.pt'
    traced.save(str(path))
    return path


def test_equals_torchs_own_reader(archive: Path) -> None:
    expected = torch.jit.load(str(archive)).state_dict()
    found = read_checkpoint(archive)['state_dict']
    assert expected['token_embedding.weight'].dtype == torch.float16
    assert set(NUMBERS) <= set(expected)
    for name, tensor in expected.items():
        same_type = tensor.float() if tensor.is_floating_point() else tensor
        torch.testing.assert_close(found[name], same_type, rtol=0, atol=0)
    assert {name.rsplit('.', 1)[-1] for name in set(found) - set(expected)} <= {'attn_mask'}


def test_fills_the_model(archive: Path, model: torch.nn.Module, tiny: str) -> None:
    source = find_open_clip(f'{tiny}-quickgelu', str(archive))
    assert source.evidence.found == 'an archive of OpenAI'
    loaded = load_open_clip(source)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_image(IMAGE), model.encode_image(IMAGE), rtol=0, atol=5e-3)
        torch.testing.assert_close(loaded.encode_text(TEXT), model.encode_text(TEXT), rtol=0, atol=5e-3)
    with pytest.raises(CheckpointError, match='weights need QuickGELU'):
        find_open_clip(tiny, str(archive))


def test_which_files_are_archives(archive: Path, tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / 'linear.pt'))
    torch.save({'a': torch.ones(1)}, tmp_path / 'plain.pt')
    (tmp_path / 'text.pt').write_text('x')
    assert is_archive(archive)
    assert is_openai_archive(archive)
    assert is_archive(tmp_path / 'linear.pt')
    assert not is_openai_archive(tmp_path / 'linear.pt')
    assert not any(is_archive(tmp_path / name) for name in ('plain.pt', 'text.pt'))
    assert set(read_checkpoint(tmp_path / 'linear.pt')['state_dict']) == {'weight', 'bias'}


def with_pickle(archive: Path, content: bytes) -> Path:
    """The same archive with another ``data.pkl``."""
    path = archive.with_name('changed.pt')
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, 'w') as target:
        for entry in source.namelist():
            target.writestr(entry, content if entry.endswith('/data.pkl') else source.read(entry))
    return path


def calling(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls a function by its name, inside the attributes of a module of the archive."""
    call = f'c{module}\n{name}\n(V{argument}\ntR'
    return b'\x80\x02' + f'c__torch__\nCLIP\n)\x81}}(Vweight\n{call}ub.'.encode('latin-1')


@pytest.mark.parametrize(
    ('module', 'name', 'argument'),
    [
        ('os', 'system', 'touch {planted}'),
        ('posix', 'system', 'touch {planted}'),
        ('builtins', 'eval', 'open("{planted}", "w")'),
        ('torch._utils', '_rebuild_parameter', '{planted}'),
        ('torch.jit._pickle', 'pickle.loads', '{planted}'),
        ('torch', 'load', '{planted}'),
    ],
)
def test_planted_calls_are_refused(archive: Path, tmp_path: Path, module: str, name: str, argument: str) -> None:
    planted = tmp_path / 'planted'
    path = with_pickle(archive, calling(module, name, argument.format(planted=planted)))
    with pytest.raises(CheckpointError, match=rf'was not read: it names {module}\.{name}'):
        read_checkpoint(path)
    assert not planted.exists()


def test_the_planted_call_would_have_run(tmp_path: Path) -> None:
    planted = tmp_path / 'planted'
    content = calling('builtins', 'eval', f'open("{planted}", "w")').replace(b'__torch__\nCLIP', b'builtins\nobject')
    with pytest.raises(Exception, match='object'):
        pickle.loads(content)
    assert planted.exists()


@pytest.mark.parametrize(
    'opcodes',
    [
        b'ctorch._utils\n_rebuild_tensor_v2\n}V__call__\nNsb.',  # changes the function that rebuilds tensors
        b'c__torch__\nCLIP\n}V__setstate__\nNsb.',  # changes the class that stands for modules
        b'ccollections\nOrderedDict\n)R}V__class__\nNsb.',
    ],
)
def test_pickles_that_change_what_reads_them(archive: Path, opcodes: bytes) -> None:
    path = with_pickle(archive, b'\x80\x02' + opcodes)
    with suppress(CheckpointError):
        assert read_checkpoint(path) == {'state_dict': {}}
    assert 'token_embedding.weight' in read_checkpoint(archive)['state_dict']


def tensor_over(count: int, size: int) -> bytes:
    """A pickle with one tensor of ``size`` numbers over a storage said to have ``count``."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, value: object) -> object:
            return ('storage', torch.FloatStorage, '0', 'cpu', count) if isinstance(value, Storage) else None

    class Rebuilt:
        def __reduce__(self) -> tuple:
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, (size,), (1,), False, None)

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(Rebuilt())
    return buffer.getvalue()


@pytest.mark.parametrize(('count', 'size'), [(1 << 40, 2), (-1, 2)])
def test_storages_of_another_size(archive: Path, count: int, size: int) -> None:
    with pytest.raises(CheckpointError, match=r'cannot be read as a TorchScript archive: storage 0 has \d+ bytes'):
        read_checkpoint(with_pickle(archive, tensor_over(count, size)))


def test_tensors_beyond_their_storage(archive: Path, with_storage: Callable[[int], Path]) -> None:
    assert read_checkpoint(with_storage(4))['state_dict'][''].shape == (4,)
    with pytest.raises(CheckpointError, match='out of bounds'):
        read_checkpoint(with_storage(5))


@pytest.fixture
def with_storage(archive: Path) -> Callable[[int], Path]:
    def make(size: int) -> Path:
        path = archive.with_name('storage.pt')
        with zipfile.ZipFile(path, 'w') as target:
            target.writestr('x/data.pkl', tensor_over(4, size))
            target.writestr('x/constants.pkl', b'')
            target.writestr('x/data/0', b'\0' * 16)
        return path

    return make


@pytest.mark.parametrize('share', [0.3, 0.9])
def test_a_file_cut_short(archive: Path, share: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError):
        read_checkpoint(archive)
