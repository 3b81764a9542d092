"""OVSeg's two stages of tuning, shrunk, one after the other, as a user runs them."""

import sys
from pathlib import Path

import pytest
import torch
from recipe_data import write_boxes_data, write_mask_nouns
from recipe_parts import CLIP_WIDTH
from recipes import tiny_recipe

from vlm_dense.checkpoints import read_checkpoint
from vlm_dense.engine import build_runner
from vlm_dense.vlms import MaskPromptedTower

sys.path.insert(0, str(Path(__file__).parents[1] / 'engine'))
from tiny_runs import unique_name

STAGES = ('ovseg_vit_b16_pairs', 'ovseg_vit_b16_mask_prompts')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_boxes_data(tmp_path)
    write_mask_nouns(tmp_path)
    return tmp_path


def run(name: str, root: Path, pretrained: str | None = None) -> tuple[dict, dict[str, torch.Tensor], str]:
    """Figures, weights and checkpoint of two epochs on two pairs."""
    config = tiny_recipe(f'{name}.py', root)
    config.model.tower.pretrained = pretrained
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.batch_size = 2
    config.optim_wrapper.type = 'OptimWrapper'  # half precision needs a GPU
    config.train_cfg.max_epochs = 2
    config.work_dir, config.experiment_name = str(root / name), unique_name()
    config.visualizer.name, config.log_level = config.experiment_name, 'ERROR'
    runner = build_runner(config)
    model = runner.train()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    return runner.val_loop.run(), weights, str(root / name / 'epoch_2.pth')


def test_the_second_stage_starts_where_the_first_ended(root: Path) -> None:
    figures, tuned, checkpoint = run(STAGES[0], root)
    assert figures['regions'] == 2
    assert figures['accuracy'] in (0, 50, 100)
    assert set(tuned) == set(read_checkpoint(checkpoint)['state_dict'])
    _, prompted, checkpoint = run(STAGES[1], root, pretrained=checkpoint)
    assert [name for name in prompted if name not in tuned] == ['tower.visual.mask_embedding']
    assert all(torch.equal(prompted[name], weight) for name, weight in tuned.items())
    assert prompted['tower.visual.mask_embedding'].any()
    name = tiny_recipe(f'{STAGES[1]}.py', root).model.tower.name
    tower = MaskPromptedTower(name, checkpoint)
    assert torch.equal(tower.visual.mask_embedding, prompted['tower.visual.mask_embedding'])
    assert tower.embed_dim == CLIP_WIDTH
