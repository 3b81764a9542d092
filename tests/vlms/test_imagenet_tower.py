from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from vlm_dense.checkpoints.packages import LITE0, LITE0_WEIGHTS, packaged_file
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import ImageNetTower, ImageTower, imagenet_tower


@pytest.fixture(scope='module')
def tower() -> ImageNetTower:
    return ImageNetTower()


def center_file(path: Path, **changes: torch.Tensor) -> str:
    centers = {name: torch.rand(1280) for name in ('crop', 'map16', 'map32')}
    save_file({**centers, **changes}, str(path))
    return str(path)


def test_classifies_photographs_as_its_package_promises(tower: ImageNetTower, photographs) -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    shown = {'cat': 'tabby cat', 'coffee cup': 'espresso', 'rocket': 'missile'}
    weights = torch.load(packaged_file(LITE0, LITE0_WEIGHTS), weights_only=True)
    with torch.no_grad():
        for word, picture in photographs.items():
            logits = tower.features(picture).mean(dim=(2, 3)) @ weights['_fc.weight'].T + weights['_fc.bias']
            assert shown[word] in [IMAGENET_CLASSNAMES[row] for row in logits[0].topk(5).indices]


@pytest.mark.parametrize('stride', [16, 32])
def test_pyramid_equals_timms_feature_extractor(stride: int) -> None:
    tower = ImageNetTower(output_stride=stride)
    reference = timm.create_model(
        'tf_efficientnet_lite0', features_only=True, out_indices=(1, 2, 3, 4), output_stride=stride
    ).eval()
    reference.load_state_dict({name: tower.trunk.state_dict()[name] for name in reference.state_dict()})
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        maps, expected = tower.pyramid(images), reference(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (24, 24, 16),
        (40, 12, 8),
        (112, 6, 4),
        (320, 96 // stride, 64 // stride),
    ]
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('stride', [16, 32])
def test_embeddings_subtract_their_own_mean(tmp_path: Path, stride: int) -> None:
    path = center_file(tmp_path / 'center.safetensors')
    from safetensors.torch import load_file

    centers = load_file(path)
    tower = ImageNetTower(center=path, output_stride=stride)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        map_BDhw = tower.trunk.forward_features(images)
        image_BD, dense_BDhw = tower.embed_images(images), tower.embed_dense(images)
    torch.testing.assert_close(image_BD, F.normalize(map_BDhw.mean((2, 3)) - centers['crop'], dim=1))
    torch.testing.assert_close(dense_BDhw, F.normalize(map_BDhw - centers[f'map{stride}'].view(1, -1, 1, 1), dim=1))
    torch.testing.assert_close(dense_BDhw.norm(dim=1), torch.ones(2, 64 // stride, 64 // stride))


def test_tail_continues_the_pyramid(tower: ImageNetTower) -> None:
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(tower.tail()(tower.pyramid(images)[-1]), tower.features(images))


def test_describes_itself(tower: ImageNetTower, tmp_path: Path) -> None:
    assert isinstance(tower, ImageTower)
    assert (tower.embed_dim, tower.input_size) == (1280, 224)
    assert tower.mean == tower.std == (127.5, 127.5, 127.5)
    fingerprints = {
        tower.fingerprint,
        ImageNetTower(output_stride=16).fingerprint,
        ImageNetTower(center=center_file(tmp_path / 'a.safetensors')).fingerprint,
        ImageNetTower(center=center_file(tmp_path / 'b.safetensors')).fingerprint,
    }
    assert len(fingerprints) == 4


def test_state_dict_holds_the_trunk_only(tower: ImageNetTower) -> None:
    names = list(tower.state_dict())
    assert len(names) == 294  # 296 less the classifier's weight and bias
    assert all(name.startswith('trunk.') for name in names)


def test_builds_from_config() -> None:
    tower = MODELS.build({'type': 'vlm_dense.ImageNetTower', 'output_stride': 16})
    assert tower.output_stride == 16
    assert not tower.trunk.training


def test_wrong_stride() -> None:
    with pytest.raises(ConfigError, match='output_stride=8'):
        ImageNetTower(output_stride=8)


def test_bad_centers(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match='no file of mean features'):
        ImageNetTower(center=tmp_path / 'none.safetensors')
    path = tmp_path / 'center.safetensors'
    center_file(path, map16=torch.rand(7))
    with pytest.raises(CheckpointError, match="no vector 'map16' of 1280"):
        ImageNetTower(center=path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match='not a whole safetensors file'):
        ImageNetTower(center=path)


def test_other_weights_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({'a': torch.zeros(3)}, tmp_path / 'x.pth')
    monkeypatch.setattr(imagenet_tower, 'packaged_file', lambda *args: tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='does not hold EfficientNet-Lite0'):
        ImageNetTower()
