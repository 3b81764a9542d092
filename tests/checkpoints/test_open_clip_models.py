import logging
import pickle
from pathlib import Path

import open_clip
import pytest
import torch

from vlm_dense.checkpoints import open_clip_models
from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError

NAME = 'vlm-dense-loader-tiny'


@pytest.fixture(autouse=True, scope='module')
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp('open_clip') / f'{NAME}.json'
    path.write_text(
        '{"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},'
        ' "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}'
    )
    open_clip.add_model_config(path)


def test_unknown_architecture_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="no architecture 'ViT-B-33'; did you mean 'ViT-B-32'"):
        find_open_clip('ViT-B-33', None)


def test_tag_that_is_not_cached_lists_the_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(open_clip_models, 'URL_CACHE', tmp_path / 'clip')
    with pytest.raises(MissingFileError) as caught:
        find_open_clip('ViT-B-32', 'openai')
    for part in ('vit_base_patch32_clip_224.openai', str(tmp_path / 'hub'), 'ViT-B-32.pt', 'path of the file'):
        assert part in str(caught.value)


def test_neither_file_nor_tag() -> None:
    with pytest.raises(MissingFileError, match=r"'opnai' is neither a file nor a tag .* openai"):
        find_open_clip('ViT-B-32', 'opnai')


def test_a_half_downloaded_file_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(open_clip_models, 'URL_CACHE', tmp_path)
    (tmp_path / 'ViT-B-32.pt').write_bytes(b'the first half')
    with pytest.raises(MissingFileError, match='damaged: its checksum is wrong'):
        find_open_clip('ViT-B-32', 'openai')


def test_cached_tag_is_found_with_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / 'models--timm--vit_base_patch32_clip_224.openai' / 'snapshots' / 'abc'
    snapshot.mkdir(parents=True)
    (snapshot / 'open_clip_model.safetensors').write_bytes(b'')
    refs = snapshot.parents[1] / 'refs'
    refs.mkdir()
    (refs / 'main').write_text('abc')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.file_download.constants.HF_HUB_CACHE', str(tmp_path))
    source = find_open_clip('ViT-B-32', 'openai')
    assert source.path == snapshot / 'open_clip_model.safetensors'
    assert source.tag_settings['quick_gelu'] is True
    assert source.tag_settings['mean'] == (0.48145466, 0.4578275, 0.40821073)


def test_settings_of_a_tag_reach_the_model(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pt'
    torch.save(open_clip.create_model(NAME).state_dict(), path)
    settings = {'mean': (0.1, 0.2, 0.3), 'std': (0.5, 0.5, 0.5), 'quick_gelu': True}
    model = load_open_clip(open_clip_models.OpenClipSource(NAME, path, settings))
    assert tuple(model.visual.preprocess_cfg['mean']) == (0.1, 0.2, 0.3)
    assert 'QuickGELU' in repr(model)


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
