import io
import logging
import pickle
from pathlib import Path

import open_clip
import pytest
import torch

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError

NAME = 'vlm-dense-weights-tiny'


@pytest.fixture(autouse=True)
def _tiny(tiny: str) -> None:
    """Registered before each test."""


def test_unknown_architecture_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="no architecture 'ViT-B-33'; did you mean 'ViT-B-32'"):
        find_open_clip('ViT-B-33', None)


def test_neither_file_nor_tag(empty_home) -> None:
    with pytest.raises(MissingFileError, match=r"'opnai' is neither a file nor a tag .* openai"):
        find_open_clip('ViT-B-32', 'opnai')


def test_tag_that_is_not_here_names_places_and_command(empty_home) -> None:
    with pytest.raises(MissingFileError) as caught:
        find_open_clip('ViT-B-32-quickgelu:openai', None)
    for part in (str(empty_home / 'clip' / 'ViT-B-32.pt'), 'vlm-dense fetch open_clip:ViT-B-32-quickgelu:openai'):
        assert part in str(caught.value)


def test_a_half_downloaded_file_is_not_trusted(empty_home) -> None:
    (empty_home / 'clip').mkdir()
    (empty_home / 'clip' / 'ViT-B-32.pt').write_bytes(b'the first half')
    with pytest.raises(MissingFileError, match='damaged: its checksum is wrong'):
        find_open_clip('ViT-B-32-quickgelu', 'openai')


def put_tag_in_hub_cache(home: Path) -> Path:
    snapshot = home / 'hub' / 'models--timm--vit_base_patch32_clip_224.openai' / 'snapshots' / 'abc'
    snapshot.mkdir(parents=True)
    (snapshot / 'open_clip_model.safetensors').write_bytes(b'')
    refs = snapshot.parents[1] / 'refs'
    refs.mkdir()
    (refs / 'main').write_text('abc')
    return snapshot / 'open_clip_model.safetensors'


def test_cached_tag_is_found_with_its_settings(empty_home) -> None:
    path = put_tag_in_hub_cache(empty_home)
    source = find_open_clip('ViT-B-32-quickgelu', 'openai')
    assert source.path == path
    assert source.evidence.quick_gelu
    assert source.preprocessing.mean == (0.48145466, 0.4578275, 0.40821073)
    assert source.preprocessing.size == 224


def test_preprocessing_reaches_the_model(tiny, tmp_path: Path) -> None:
    path = tmp_path / 'weights.pt'
    torch.save(open_clip.create_model(tiny).state_dict(), path)
    (tmp_path / 'open_clip_config.json').write_text('{"preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}')
    source = find_open_clip(tiny, str(path))
    visual = load_open_clip(source).visual
    assert tuple(visual.preprocess_cfg['mean']) == (0.1, 0.2, 0.3) == source.preprocessing.mean
    assert visual.preprocess_cfg['size'] == visual.image_size[0] == source.preprocessing.size == 32
    (tmp_path / 'open_clip_config.json').unlink()
    assert find_open_clip(tiny, str(path)).fingerprint() != source.fingerprint()


def test_a_plain_name_in_a_local_folder(tiny, empty_home) -> None:
    (empty_home / 'checkpoints').mkdir()
    torch.save(open_clip.create_model(tiny).state_dict(), empty_home / 'checkpoints' / 'mine.pt')
    assert find_open_clip(tiny, 'mine.pt').path == Path('checkpoints/mine.pt')


def test_building_fetches_unless_the_user_forbids_it(tiny, online, monkeypatch) -> None:
    """By URL, as any file; the model is then complete and the next one comes from the cache."""
    buffer = io.BytesIO()
    torch.save(open_clip.create_model(tiny).state_dict(), buffer)
    online.files['w.pt'] = buffer.getvalue()
    monkeypatch.setenv('VLM_DENSE_OFFLINE', '1')
    with pytest.raises(MissingFileError, match='VLM_DENSE_OFFLINE=1 is set'):
        find_open_clip(tiny, f'{online.url}/w.pt')
    monkeypatch.delenv('VLM_DENSE_OFFLINE')
    first = find_open_clip(tiny, f'{online.url}/w.pt')
    assert find_open_clip(tiny, f'{online.url}/w.pt').fingerprint() == first.fingerprint()
    assert online.asked == ['GET /w.pt']


@pytest.mark.parametrize('wrapped', [False, True])
def test_loads_a_file(tmp_path: Path, wrapped: bool) -> None:
    model = open_clip.create_model(NAME)
    path = tmp_path / 'weights.pt'
    torch.save({'state_dict': model.state_dict()} if wrapped else model.state_dict(), path)
    loaded = load_open_clip(find_open_clip(NAME, str(path)))
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pt'
    torch.save({'text.weight': torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=f"does not load as weights of open_clip's '{NAME}'"):
        load_open_clip(find_open_clip(NAME, str(path)))


class Planted:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / 'evil.pt', 'wb') as file:
        pickle.dump({'weight': Planted(tmp_path / 'ran')}, file)
    torch.save({'weight': Planted(tmp_path / 'ran')}, tmp_path / 'evil_zip.pt')
    for name in ('evil.pt', 'evil_zip.pt'):
        with pytest.raises(CheckpointError):
            load_open_clip(find_open_clip(NAME, str(tmp_path / name)))
    assert not (tmp_path / 'ran').exists()


def test_loading_leaves_the_root_logger_alone(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    load_open_clip(find_open_clip(NAME, None))
    assert (root.handlers, root.level) == before
    assert not caplog.records
    assert not recwarn.list
