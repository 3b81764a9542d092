"""Tuning a tower on regions with words: CLIP's loss in numpy, repeated words, weights that go on into a tower."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from recipe_parts import HashedBank, tiny_clip_vit

from vlm_dense.checkpoints import load_state
from vlm_dense.errors import CheckpointError, DataError
from vlm_dense.evaluation import RegionNamingMetric
from vlm_dense.models import RegionNamer
from vlm_dense.models.losses import GatheredContrast
from vlm_dense.models.regions import CropReader
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import MaskedCrops, MaskPromptedTower, OpenClipTower

SIDE = 96
SCALE = 10.0


def namer(kind: type = OpenClipTower, **settings: object) -> RegionNamer:
    tower = kind(tiny_clip_vit(blocks=4), **settings)
    loss = GatheredContrast(scale=SCALE, learn_scale=False)
    return RegionNamer(tower, HashedBank(), loss, dict(type='mmdet.DetDataPreprocessor'))


def sample(noun: str, words: tuple[str, ...] = (), left: int = 20) -> DetDataSample:
    inside = np.zeros((1, SIDE, SIDE), np.uint8)
    inside[:, 30:70, left : left + 30] = 1
    asked = Vocabulary.from_words(words or [noun])
    made = DetDataSample(metainfo=dict(vocabulary=asked, noun=noun, img_id=left))
    masks = BitmapMasks(inside, SIDE, SIDE)
    made.gt_instances = InstanceData(labels=torch.tensor([asked.index(noun)]), masks=masks)
    return made


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).float()


def test_the_loss_is_clips_with_equal_words_as_one_set(pictures: torch.Tensor) -> None:
    model, nouns = namer(), ('dog', 'red kite', 'Dog', 'beach')
    samples = [sample(noun) for noun in nouns]
    with torch.no_grad():
        region_BD = model.tower.embed_images(model.tower.normalize(pictures)).numpy()
        loss = model.loss(pictures, samples)['loss_contrast'].item()
    text_BD = np.concatenate([HashedBank()(Vocabulary.from_words([noun.lower()])).numpy() for noun in nouns])
    exp_BB = np.exp(SCALE * region_BD @ text_BD.T)
    own_BB = np.array([[one.lower() == other.lower() for other in nouns] for one in nouns])
    rows = np.log((exp_BB * own_BB).sum(1) / exp_BB.sum(1))
    columns = np.log((exp_BB * own_BB).sum(0) / exp_BB.sum(0))
    assert loss == pytest.approx(-(rows.mean() + columns.mean()) / 2, abs=1e-5)


def test_the_best_word_of_every_region(pictures: torch.Tensor) -> None:
    model, words = namer().eval(), ('dog', 'red kite', 'beach')
    samples = [sample('dog', words, left=left) for left in range(4)]
    with torch.no_grad():
        found = model.predict(pictures, samples)
        region_BD = model.tower.embed_images(model.tower.normalize(pictures))
    expected_BK = (SCALE * region_BD @ HashedBank()(Vocabulary.from_words(words)).T).softmax(dim=1)
    labels = torch.cat([one.pred_instances.labels for one in found])
    assert torch.equal(labels, expected_BK.argmax(dim=1))
    torch.testing.assert_close(torch.cat([one.pred_instances.scores for one in found]), expected_BK.amax(dim=1))
    metric = RegionNamingMetric()
    metric.process({}, [one.to_dict() for one in found])
    assert metric.evaluate(4) == {'accuracy': 100 * (labels == 0).float().mean().item(), 'regions': 4.0}


def test_a_tower_that_takes_masks_is_given_them(pictures: torch.Tensor) -> None:
    model = namer(MaskPromptedTower).eval()
    with torch.no_grad():
        model.tower.visual.mask_embedding.normal_()
        region_BD = model.embed(pictures, [sample('dog')] * 4)
        inside = torch.zeros(4, SIDE, SIDE)
        inside[:, 30:70, 20:50] = 1
        expected_BD = model.tower.embed_images(model.tower.normalize(pictures), inside)
        assert torch.equal(region_BD, expected_BD)
        assert not torch.allclose(region_BD, model.tower.embed_images(model.tower.normalize(pictures)), atol=1e-3)


def test_only_the_mask_tokens_learn_and_the_rest_stays_in_eval_mode(pictures: torch.Tensor) -> None:
    model = namer(MaskPromptedTower).train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.0)
    model.loss(pictures, [sample(noun) for noun in ('dog', 'cat', 'kite', 'beach')])['loss_contrast'].backward()
    optimizer.step()
    after = model.state_dict()
    assert [n for n in after if not torch.equal(after[n], before[n])] == ['tower.visual.mask_embedding']
    assert not any(module.training for module in model.tower.visual.transformer.modules())


def test_a_tuned_towers_checkpoint_is_a_file_of_pretrained_weights(tmp_path: Path, pictures: torch.Tensor) -> None:
    """From stage to stage, and into the region tower of a segmentor."""
    name, model = tiny_clip_vit(blocks=4), namer().eval()
    with torch.no_grad():
        for weight in model.tower.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=5)), tmp_path / 'epoch_5.pth')
    expected_BD = model.embed(pictures, [sample('dog')] * 4)
    tuned = OpenClipTower(name, str(tmp_path / 'epoch_5.pth'))
    torch.testing.assert_close(tuned.embed_images(tuned.normalize(pictures)), expected_BD)

    second = namer(MaskPromptedTower, pretrained=str(tmp_path / 'epoch_5.pth')).eval()
    assert not second.tower.visual.mask_embedding.any()
    torch.testing.assert_close(second.tower.embed_images(second.tower.normalize(pictures)), expected_BD)
    with torch.no_grad():
        second.tower.visual.mask_embedding.normal_()
    torch.save(dict(state_dict=second.state_dict()), tmp_path / 'prompts.pth')
    reader = CropReader(dict(type='vlm_dense.MaskPromptedTower', name=name, pretrained=str(tmp_path / 'prompts.pth')))
    masks = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    masks[..., 30:70, 20:30] = masks[..., 60:70, 20:80] = True
    with torch.no_grad():
        expected_1D, _ = MaskedCrops()(second.tower, pictures[:1], list(masks))
    assert torch.equal(reader(pictures[:1], None, (), masks).region_BND[0], expected_1D)
    # Weights of one depth do not fill another silently, and a plain tower has no place for the tokens.
    with pytest.raises(CheckpointError, match=r'mask_embedding: 3x36x64 instead of 2x36x64'):
        MaskPromptedTower(name, str(tmp_path / 'prompts.pth'), depth=2)
    with pytest.raises(CheckpointError, match=r'1 unexpected \(visual\.mask_embedding\)'):
        OpenClipTower(name, str(tmp_path / 'prompts.pth'))


def test_a_run_resumes_from_its_own_checkpoint(tmp_path: Path) -> None:
    model = namer(MaskPromptedTower)
    with torch.no_grad():
        model.tower.visual.mask_embedding.normal_()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    again = namer(MaskPromptedTower)
    load_state(again, tmp_path / 'weights.pth', strict=True)
    assert torch.equal(again.tower.visual.mask_embedding, model.tower.visual.mask_embedding)


def test_samples_without_a_region_or_a_word_are_refused(pictures: torch.Tensor) -> None:
    bare, unnamed = sample('dog'), sample('dog')
    del bare.gt_instances.masks
    del unnamed.gt_instances.labels
    with pytest.raises(DataError, match=r'does not bring one mask of 96 x 96 pixels; put vlm_dense\.CutMaskedRegion'):
        namer(MaskPromptedTower).predict(pictures[:1], [bare])
    with pytest.raises(DataError, match='brings 0 labels, not one'):
        namer().loss(pictures[:1], [unnamed])
