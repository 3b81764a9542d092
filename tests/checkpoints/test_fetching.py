"""Downloads from a server on this machine, also when the connection breaks off."""

import hashlib
import json
from pathlib import Path

import pytest

from vlm_dense.checkpoints import fetch, find_weights
from vlm_dense.checkpoints.urls import UrlFile
from vlm_dense.errors import MissingFileError

CONTENT = b'the weights' * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob('*') if path.is_file())


def test_url_is_announced_with_its_size(online, log_lines) -> None:
    online.files[f'models/{SHA256}/w.pt'] = CONTENT
    (path,) = fetch(f'{online.url}/models/{SHA256}/w.pt')
    assert path == Path.cwd() / 'torch' / 'hub' / 'checkpoints' / 'w.pt'
    assert path.read_bytes() == CONTENT
    assert log_lines == [f"fetching '{online.url}/models/{SHA256}/w.pt' (0.0 MB) to '{path}'"]
    fetch(f'{online.url}/models/{SHA256}/w.pt')
    assert len(online.asked) == 1


def test_a_connection_that_breaks_off_leaves_nothing(online) -> None:
    online.files['w.pth'] = CONTENT
    online.breaks = True
    with pytest.raises(MissingFileError, match='the connection broke off after 5500 of 11000 bytes'):
        fetch(f'{online.url}/w.pth')
    assert files_below(Path.cwd()) == []
    online.breaks = False
    assert fetch(f'{online.url}/w.pth')[0].read_bytes() == CONTENT


def test_without_a_length_only_a_checksum_tells(online) -> None:
    online.hides_length = True
    online.files |= {'w.pth': CONTENT, f'{SHA256}/w.pth': CONTENT}
    with pytest.raises(MissingFileError, match='does not say how long the file is'):
        fetch(f'{online.url}/w.pth')
    online.breaks = True
    with pytest.raises(MissingFileError, match='its SHA-256 starts with'):
        fetch(f'{online.url}/{SHA256}/w.pth')
    assert files_below(Path.cwd()) == []
    online.breaks = False
    assert fetch(f'{online.url}/{SHA256}/w.pth')[0].read_bytes() == CONTENT


def test_a_cached_file_with_a_wrong_checksum_is_not_trusted(online) -> None:
    url = f'{online.url}/{SHA256}/w.pth'
    path = Path('torch/hub/checkpoints/w.pth')
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:100])
    with pytest.raises(MissingFileError, match='damaged: its checksum is wrong'):
        find_weights(url)
    online.files[f'{SHA256}/w.pth'] = CONTENT
    assert fetch(url)[0].read_bytes() == CONTENT
    assert find_weights(url).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ('url', 'checksum'),
    [
        (f'https://openaipublic.azureedge.net/clip/models/{"a" * 64}/RN50.pt', 'a' * 64),
        (
            'https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights/vit_b_16-x-55e67d44.pt',
            '55e67d44',
        ),
        ('https://download.pytorch.org/models/resnet50-0676ba61.pth', '0676ba61'),
        ('https://example.org/run-20200130.pth', ''),
        ('https://example.org/x.pth?download=true', ''),
    ],
)
def test_checksums_in_urls(url: str, checksum: str) -> None:
    assert UrlFile(url).checksum == checksum


def test_a_missing_file_on_the_server(online) -> None:
    with pytest.raises(MissingFileError, match=r'cannot fetch .*404.*Download it elsewhere'):
        fetch(f'{online.url}/none.pth')


def text_model(online, repo: str, *weights: str) -> None:
    names = ('config.json', 'tokenizer.json', 'vocab.txt', '1_Pooling/config.json')
    unwanted = ('README.md', 'onnx/model.onnx', 'tf_model.h5', 'training_args.bin')
    online.files |= {f'{repo}/{name}': name.encode() for name in (*names, *unwanted, *weights)}


@pytest.mark.parametrize(
    ('weights', 'taken'),
    [
        (['pytorch_model.bin', 'model.safetensors'], ['model.safetensors']),
        (['pytorch_model.bin'], ['pytorch_model.bin']),
    ],
)
def test_a_whole_text_model(online, weights: list[str], taken: list[str]) -> None:
    text_model(online, 'owner/bert', *weights)
    (folder,) = fetch('hf:owner/bert')
    wanted = ['1_Pooling/config.json', 'config.json', 'tokenizer.json', 'vocab.txt', *taken]
    names = [path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()]
    assert sorted(names) == sorted(wanted)
    assert all((folder / name).read_text() == name for name in wanted)
    online.asked.clear()
    assert find_weights('hf:owner/bert') == folder
    assert not online.asked


def test_shards_come_with_their_index(online) -> None:
    shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    text_model(online, 'owner/big', 'model.safetensors.index.json', *shards)
    index = json.dumps({'weight_map': {'a': shards[0], 'b': shards[1]}}).encode()
    online.files['owner/big/model.safetensors.index.json'] = index
    (folder,) = fetch('owner/big', to=Path('mine'))
    assert folder == Path('mine/owner/big').absolute()
    assert all((folder / shard).is_file() for shard in shards)


def test_a_hub_connection_that_breaks_off(online) -> None:
    text_model(online, 'owner/bert', 'model.safetensors')
    online.files['owner/bert/model.safetensors'] = CONTENT
    online.breaks = True
    with pytest.raises(MissingFileError, match="cannot fetch 'owner/bert' from the Hugging Face hub"):
        fetch('hf:owner/bert')
    with pytest.raises(MissingFileError, match='not on this machine'):
        find_weights('hf:owner/bert')
    online.breaks = False
    (folder,) = fetch('hf:owner/bert')
    assert (folder / 'model.safetensors').read_bytes() == CONTENT


def test_unknown_repository(online) -> None:
    with pytest.raises(MissingFileError, match=r"cannot fetch 'owner/none' .*404.*Not Found"):
        fetch('hf:owner/none')
    text_model(online, 'owner/bert', 'model.safetensors')
    with pytest.raises(MissingFileError, match=r"'owner/bert' holds no 'x.pth'"):
        fetch('hf://owner/bert/x.pth')


def test_open_clip_tag_takes_the_first_that_is_there(online) -> None:
    repo = 'timm/vit_base_patch32_clip_224.openai'
    online.files[f'{repo}/open_clip_pytorch_model.bin'] = CONTENT
    paths = fetch('open_clip:ViT-B-32-quickgelu:openai', to=Path('checkpoints'))
    assert paths == [Path('checkpoints').absolute() / repo / 'open_clip_pytorch_model.bin']
    assert find_weights('open_clip:ViT-B-32-quickgelu:openai').samefile(paths[0])


def test_open_clip_tag_brings_the_tokenizer_that_its_architecture_borrows(online) -> None:
    online.files['timm/ViT-B-16-SigLIP/open_clip_model.safetensors'] = CONTENT
    online.files |= {f'timm/ViT-B-16-SigLIP/{name}': b'{}' for name in ('open_clip_config.json', 'tokenizer.json')}
    weights, tokenizer = fetch('open_clip:ViT-B-16-SigLIP:webli')
    assert weights.parent == tokenizer
    assert (tokenizer / 'tokenizer.json').is_file()
