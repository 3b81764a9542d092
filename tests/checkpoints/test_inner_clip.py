"""The CLIP inside a segmentor's release: as a tower's file of weights, and as FC-CLIP's frozen backbone."""

from pathlib import Path

import detectron2_masks as theirs
import open_clip
import pytest
import torch
from recipe_parts import tiny_clip_resnet, tiny_clip_vit
from torch import Tensor, nn

from vlm_dense.checkpoints import load_state
from vlm_dense.checkpoints.adapters import from_inner_clip, has_inner_clip, to_open_clip
from vlm_dense.errors import CheckpointError
from vlm_dense.vlms import OpenClipTower, TowerBackbone

PLACES = ('clip_adapter.clip_model.', 'sem_seg_head.predictor.clip_model.', 'backbone.clip_model.')


def tuned(name: str) -> nn.Module:
    torch.manual_seed(3)
    model = open_clip.create_model(name)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def saved(path: Path, place: str, clip: nn.Module, **more: Tensor) -> str:
    weights = theirs.mask2former().state_dict() | {place + n: w for n, w in clip.state_dict().items()} | more
    torch.save(dict(model=weights, iteration=7), path)
    return str(path)


@pytest.mark.parametrize('place', PLACES)
def test_a_tower_reads_it_from_the_whole_file(tmp_path: Path, place: str) -> None:
    name = tiny_clip_vit(blocks=2)
    clip = tuned(name)
    tower = OpenClipTower(name, saved(tmp_path / 'release.pth', place, clip))
    for part, weight in clip.visual.state_dict().items():
        assert torch.equal(tower.visual.state_dict()[part], weight), part


def test_its_text_half_too(tmp_path: Path) -> None:
    clip = tuned(tiny_clip_vit(blocks=2))
    weights = torch.load(saved(tmp_path / 'release.pth', PLACES[0], clip), weights_only=True)['model']
    assert has_inner_clip(weights)
    found = to_open_clip(weights)
    assert found.keys() == clip.state_dict().keys()
    assert all(torch.equal(found[name], weight) for name, weight in clip.state_dict().items())


def test_mask_tokens_come_along() -> None:
    weights = {f'{PLACES[0]}visual.{name}': torch.ones(1) for name in ('proj', 'mask_embedding')}
    assert set(from_inner_clip(weights)) == {'visual.proj', 'visual.mask_embedding'}


def test_that_which_names_regions_is_meant() -> None:
    weights = {f'{place}visual.proj': torch.tensor([float(n)]) for n, place in enumerate(reversed(PLACES))}
    assert from_inner_clip(weights)['visual.proj'].item() == 2


def test_other_weights_have_none() -> None:
    own = {'backbone.tower.visual.proj': torch.ones(1), 'clip_adapter.non_object_embedding': torch.ones(1)}
    assert not has_inner_clip(own)
    assert to_open_clip(own) == own


class Model(nn.Module):
    """FC-CLIP's backbone, and one weight of its head that has none of the pixel decoder's settings."""

    def __init__(self, in_checkpoint: bool, pretrained: str | None) -> None:
        super().__init__()
        tower = OpenClipTower(tiny_clip_resnet(), pretrained)
        self.backbone = TowerBackbone(tower, in_checkpoint=in_checkpoint)
        self.decode_head = theirs.tree(query_embed=nn.Embedding(theirs.QUERIES, theirs.WIDTH))


@pytest.mark.parametrize('in_checkpoint', [False, True])
def test_a_frozen_backbone_is_compared_or_taken(tmp_path: Path, in_checkpoint: bool) -> None:
    """A tower with the release's weights, or one that may take them, loads; another is refused."""
    clip = tuned(tiny_clip_resnet())
    path = saved(tmp_path / 'release.pth', 'backbone.clip_model.', clip)
    model = Model(in_checkpoint, None if in_checkpoint else path)
    coverage = load_state(model, path)
    assert coverage.is_complete, coverage
    assert not [name for name in coverage.unexpected if name.startswith('backbone.tower.')]
    assert torch.equal(model.backbone.tower.visual.conv1.weight, clip.visual.conv1.weight)
    if not in_checkpoint:
        with pytest.raises(CheckpointError, match=r'another .*visual.* than the frozen one of TowerBackbone'):
            load_state(Model(False, None), path)
