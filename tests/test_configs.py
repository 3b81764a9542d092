"""The contract that every recipe in configs/ meets; a new recipe is picked up by itself.

Build tiny, step with finite losses and a gradient for every parameter, predict words never seen in training, keep
results when words change places, survive a checkpoint, learn from a repeated batch, hold no teacher, stay silent.
Recipes without training meet all of it but the steps. ``VLM_DENSE_TEST_DEVICE=cuda`` runs it on a GPU, and adds what
only a GPU can show: the processor's answers, and half precision.
"""

import contextlib
import io
import os
import warnings
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement
from recipe_data import write_data
from recipes import CONFIGS, tiny_recipe
from safetensors.torch import save_file
from torch import nn

from vlm_dense.checkpoints import load_state
from vlm_dense.engine import check_config
from vlm_dense.models.proposals import OfflineProposals
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

NAMES = sorted(path.name for path in CONFIGS.glob('*.py'))
DEVICE = os.environ.get('VLM_DENSE_TEST_DEVICE', 'cpu')
ON_GPU = pytest.mark.skipif(not DEVICE.startswith('cuda'), reason='set VLM_DENSE_TEST_DEVICE=cuda to run this')
UNSEEN = ('wombat', 'garden gnome', 'кошка', 'traffic cone')
# These know no words: they are the controls that show what words contribute.
CLOSED = {name for name in NAMES if name.endswith('_closed.py')}


@dataclass
class Recipe:
    name: str
    config: Config
    model: nn.Module
    batch: dict | None
    picture: dict


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory, pictures_root: Path) -> Path:
    root = tmp_path_factory.mktemp('recipes')
    write_data(root, pictures_root)
    return root


@pytest.fixture(scope='module', params=NAMES)
def recipe(request: pytest.FixtureRequest, data_root: Path) -> Recipe:
    torch.manual_seed(0)
    config = tiny_recipe(request.param, data_root)
    check_config(config)
    said = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(said):
        warnings.simplefilter('always')
        model = MODELS.build(config.model)
        model.init_weights()
        batch = None
        if config.get('train_dataloader') is not None:
            train_set = DATASETS.build(config.train_dataloader.dataset)
            # Of a mixture, a picture of the first set and one of the last.
            second = len(train_set) - 1 if hasattr(train_set, 'datasets') else 1
            batch = pseudo_collate([train_set[0], train_set[second]])
        picture = pseudo_collate([DATASETS.build(config.test_dataloader.dataset)[0]])
    assert said.getvalue() == ''
    assert [str(warning.message) for warning in caught if 'vlm_dense' in warning.filename] == []
    return Recipe(request.param, config, model.to(DEVICE), batch, picture)


def losses_of(recipe: Recipe, seed: int = 0) -> torch.Tensor:
    if recipe.batch is None:
        pytest.skip('this recipe has nothing to train')
    recipe.model.train()
    torch.manual_seed(seed)  # the same regions are sampled every time
    ready = recipe.model.data_preprocessor(recipe.batch, True)
    total, _ = recipe.model.parse_losses(recipe.model(**ready, mode='loss'))
    return total


def ask(recipe: Recipe, words: tuple[str, ...]) -> BaseDataElement:
    sample = recipe.picture['data_samples'][0].clone()
    # A sentence that a data set brought asks for its own phrases, not for these.
    sample.set_metainfo(dict(vocabulary=Vocabulary.from_words(words), prompt=None))
    recipe.model.eval()
    if hasattr(recipe.model, 'decode_head'):
        recipe.model.test_cfg = {**(recipe.model.test_cfg or {}), 'keep_scores': True}
    with torch.no_grad():
        return recipe.model.test_step(dict(inputs=recipe.picture['inputs'], data_samples=[sample]))[0]


def named_scores(found: BaseDataElement) -> dict[str, torch.Tensor]:
    """Per word what the recipe says about the picture, whichever its task."""
    words = found.vocabulary.words
    if 'pred_instances' in found:
        instances = found.pred_instances
        return {word: instances.scores[instances.labels == k] for k, word in enumerate(words)}
    logits_KHW = found.seg_logits.data
    return {word: logits_KHW[k] for k, word in enumerate(words)}


def test_losses_are_finite_and_reach_every_parameter(recipe: Recipe) -> None:
    recipe.model.zero_grad()
    total = losses_of(recipe)
    assert total.isfinite()
    total.backward()
    assert [n for n, p in recipe.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_recipe_without_training_has_no_part_of_one(recipe: Recipe) -> None:
    parts = {name for name in ('train_dataloader', 'train_cfg', 'optim_wrapper') if recipe.config.get(name) is not None}
    assert len(parts) == (0 if recipe.batch is None else 3)
    assert any(p.requires_grad for p in recipe.model.parameters()) == bool(parts)


def spread_proposals(model: nn.Module) -> None:
    """Random networks score all proposals one half, or one where features are large: rounding chooses among them."""
    for name, weight in model.named_parameters():
        if name.endswith('rpn_cls.weight'):
            weight.data.normal_()
    for part in model.modules():
        if isinstance(part, OfflineProposals):
            getattr(part.network, part._head).rpn_cls.weight.mul_(0.01)


def test_words_never_seen_in_training(recipe: Recipe) -> None:
    found = ask(recipe, UNSEEN)
    assert found.vocabulary.words == UNSEEN
    scores = named_scores(found)
    assert all(score.isfinite().all() for score in scores.values())
    if recipe.name not in CLOSED:
        assert sum(score.numel() for score in scores.values()) > 0


def test_order_of_words_permutes_nothing_but_indices(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(recipe.model, 'language_model'):
        # Words of one prompt read each other, so that their order is part of what is asked; alone they do not.
        monkeypatch.setitem(recipe.model.test_cfg, 'words_per_prompt', 1)
    one, other = named_scores(ask(recipe, UNSEEN)), named_scores(ask(recipe, UNSEEN[::-1]))
    for word in UNSEEN:
        torch.testing.assert_close(one[word], other[word], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_saved_and_loaded_gives_the_same_answers(recipe: Recipe, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f'weights.{ending}'
    weights = {name: weight.contiguous().clone() for name, weight in recipe.model.state_dict().items()}
    save_file(weights, path) if ending == 'safetensors' else torch.save({'state_dict': weights}, path)
    expected = named_scores(ask(recipe, UNSEEN))
    torch.manual_seed(1)
    again = MODELS.build(recipe.config.model)
    load_state(again, path, strict=True)
    found = named_scores(ask(replace(recipe, model=again.to(DEVICE)), UNSEEN))
    for word in UNSEEN:
        torch.testing.assert_close(found[word], expected[word], rtol=1e-5, atol=1e-6)


@ON_GPU
def test_answers_are_those_of_the_cpu(recipe: Recipe) -> None:
    on_cpu = MODELS.build(recipe.config.model)
    on_cpu.load_state_dict({name: weight.cpu() for name, weight in recipe.model.state_dict().items()})
    spread_proposals(on_cpu)
    on_gpu = deepcopy(on_cpu).to(DEVICE)
    found, expected = (ask(replace(recipe, model=model), UNSEEN) for model in (on_gpu, on_cpu))
    scores, expected_scores = named_scores(found), named_scores(expected)
    for word in UNSEEN:
        torch.testing.assert_close(scores[word].cpu(), expected_scores[word], rtol=1e-3, atol=1e-4)
    if 'pred_sem_seg' in found:
        same_1HW = found.pred_sem_seg.data.cpu() == expected.pred_sem_seg.data
        assert same_1HW.float().mean() > 0.99


@ON_GPU
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_losses_in_half_precision(recipe: Recipe, dtype: torch.dtype) -> None:
    recipe.model.zero_grad()
    full = losses_of(recipe).item()
    with torch.autocast('cuda', dtype):
        half = losses_of(recipe)
    half.backward()
    assert half.isfinite()
    assert half.item() == pytest.approx(full, rel=0.2)


def test_checkpoint_holds_no_teacher_and_no_text_encoder(recipe: Recipe) -> None:
    assert [name for name in recipe.model.state_dict() if 'teacher' in name or 'text_bank' in name] == []


def test_steps_on_a_repeated_batch_lower_the_loss(recipe: Recipe) -> None:
    """Last, because it changes the weights."""
    before = losses_of(recipe).item()
    trained = [p for p in recipe.model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        losses_of(recipe).backward()
        optimizer.step()
    assert losses_of(recipe).item() < before
