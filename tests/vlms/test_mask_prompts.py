"""Mask prompts: the plain tower, and the paper's formula over open_clip's own layers."""

import pytest
import torch
import torch.nn.functional as F

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.vlms import FrozenTower, MaskPromptedTower, OpenClipTower
from vlm_dense.vlms.clip_vit import transformer_pictures
from vlm_dense.vlms.mask_prompts import patches_inside

CLOSE = {'rtol': 0, 'atol': 1e-4}
SIZES = [(48, 48), (48, 80), (70, 37)]


@pytest.fixture
def prompted(tiny_models) -> MaskPromptedTower:
    """Weights away from their initial values."""
    torch.manual_seed(0)
    tower = MaskPromptedTower(tiny_models['vit'])
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return tower


@pytest.mark.parametrize('size', SIZES)
@torch.no_grad()
def test_with_nothing_hidden_it_is_the_plain_tower(prompted: MaskPromptedTower, tiny_models, size) -> None:
    plain = OpenClipTower(tiny_models['vit'])
    plain.load_state_dict({key: w for key, w in prompted.state_dict().items() if key != 'visual.mask_embedding'})
    images = torch.randn(2, 3, *size)
    expected_BD = F.normalize(transformer_pictures(plain.visual, images, 'bicubic'), dim=-1)
    shown_Bhw = torch.ones(2, *size, dtype=torch.bool)
    torch.testing.assert_close(prompted.embed_images(images, shown_Bhw), expected_BD, **CLOSE)
    # open_clip's own forward pass, at the native size
    torch.testing.assert_close(prompted.embed_images(images), plain.embed_images(images), **CLOSE)
    torch.testing.assert_close(plain.embed_images(images), expected_BD, **CLOSE)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('depth', [1, 3, 4])
@torch.no_grad()
def test_equals_the_formula(tiny_models, size: tuple[int, int], depth: int) -> None:
    """x m + E_d (1 - m) over cells, with m = ceil(mean of the mask over the patch)."""
    torch.manual_seed(0)
    tower = MaskPromptedTower(tiny_models['vit'], depth=depth)
    tower.visual.mask_embedding.normal_()
    images, mask = torch.randn(2, 3, *size), torch.rand(2, *size) > 0.995
    visual, grid = tower.visual, (size[0] // 16, size[1] // 16)

    def resized(cells_LC: torch.Tensor) -> torch.Tensor:
        if grid == (3, 3):
            return cells_LC
        cells = F.interpolate(cells_LC.T.unflatten(1, (3, 3))[None], grid, mode='bicubic', antialias=True)
        return cells[0].flatten(1).T

    m = F.avg_pool2d(mask[:, None].float(), 16).ceil().flatten(1)[..., None]
    assert 0 < m.sum() < m.numel()
    cells = visual.conv1(images).flatten(2).transpose(1, 2) * m + resized(visual.mask_embedding[0]) * (1 - m)
    position_LC = visual.positional_embedding
    first = (visual.class_embedding + position_LC[0]).expand(2, 1, -1)
    tokens = visual.ln_pre(torch.cat([first, cells + resized(position_LC[1:])], dim=1))
    for number, block in enumerate(visual.transformer.resblocks):
        tokens = block(tokens)
        if number + 1 < depth:
            cells = tokens[:, 1:] * m + resized(visual.mask_embedding[number + 1]) * (1 - m)
            tokens = torch.cat([tokens[:, :1], cells], dim=1)
    expected_BD = F.normalize(visual.ln_post(tokens[:, 0]) @ visual.proj, dim=-1)
    torch.testing.assert_close(tower.embed_images(images, mask), expected_BD, **CLOSE)


@torch.no_grad()
def test_what_hidden_patches_show_does_not_matter(prompted: MaskPromptedTower) -> None:
    images, mask = torch.randn(1, 3, 48, 48), torch.zeros(1, 48, 48)
    mask[:, 20:40, 20:30] = 1
    changed = images.clone()
    changed[:, :, :, 32:] = 9  # two of the three columns of patches hold none of the mask
    changed[:, :, :16] = -9
    assert torch.equal(prompted.embed_images(images, mask), prompted.embed_images(changed, mask))
    assert not torch.allclose(prompted.embed_images(images, mask), prompted.embed_images(images), atol=1e-3)
    assert prompted.embed_images(images, torch.zeros_like(mask)).isfinite().all()
    assert prompted.embed_images(images[:0], mask[:0]).shape == (0, 32)


def test_patches_inside_are_the_mean_rounded_up() -> None:
    mask = torch.rand(3, 60, 90) > 0.997
    expected = F.avg_pool2d(mask[:, None].float(), 14).ceil()[:, 0]
    assert torch.equal(patches_inside(mask, (14, 14)).float(), expected)
    assert 0 < expected.sum() < expected.numel()


def test_mask_tokens_learn_alone(prompted: MaskPromptedTower, tiny_models) -> None:
    learned = {name for name, weight in prompted.named_parameters() if weight.requires_grad}
    assert learned == {'visual.mask_embedding'}
    mask = torch.zeros(1, 48, 48)
    mask[:, :16, :16] = 1
    prompted.embed_images(torch.randn(1, 3, 48, 48), mask)[:, 0].sum().backward()
    gradient = prompted.visual.mask_embedding.grad
    assert (gradient.abs().amax(dim=2) > 0).tolist() == [[False] + [True] * 8] * 3
    whole = MaskPromptedTower(tiny_models['vit'], prompts_only=False)
    assert all(weight.requires_grad for weight in whole.parameters())


def test_the_parameter_is_named_and_shaped_as_published() -> None:
    tower = MaskPromptedTower('ViT-B-16')
    assert tower.state_dict()['visual.mask_embedding'].shape == (3, 196, 768)


def test_fingerprints_tell_mask_tokens_apart(tiny_models) -> None:
    tower, plain = MaskPromptedTower(tiny_models['vit']), OpenClipTower(tiny_models['vit'])
    before = tower.fingerprint
    assert before.startswith(plain.fingerprint)
    tower.visual.mask_embedding.data.add_(1)
    assert tower.fingerprint != before


def test_a_frozen_one_takes_pictures(prompted: MaskPromptedTower) -> None:
    images = torch.randn(1, 3, 48, 48)
    assert torch.equal(FrozenTower(prompted).embed_images(images), prompted.embed_images(images))


def test_limits_are_named(tiny_models) -> None:
    for kind in ('resnet', 'timmvit'):
        with pytest.raises(ConfigError, match='takes no mask prompts'):
            MaskPromptedTower(tiny_models[kind])
    with pytest.raises(ConfigError, match='depth=5 of MaskPromptedTower: write 1 to 4'):
        MaskPromptedTower(tiny_models['vit'], depth=5)
    with pytest.raises(DataError, match='Give one mask of the same height and width per picture'):
        MaskPromptedTower(tiny_models['vit']).embed_images(torch.zeros(2, 3, 48, 48), torch.zeros(1, 48, 48))
