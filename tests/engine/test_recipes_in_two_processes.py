"""Two processes train a recipe for 20 steps with the losses of one at the same global batch."""

import pytest
from recipe_data import write_data
from recipe_runs import STEPS, recipe_run
from tiny_runs import in_processes, logged, train

# These drop out where the config says nothing of it.
CERTAIN = dict(bbox_head__fusion__dropout=0.0, bbox_head__text__dropout=0.0)
RUNS = {
    'fvlm_lite0_pictures.py': {},
    'vild_lite0_pictures.py': {},
    'glip_swin_l.py': CERTAIN,
    # Which words are hidden is drawn in every process; what is contrasted is not.
    'glipv2_swin_t.py': dict(CERTAIN, masked_words__rate=0.0),
}


@pytest.fixture(scope='module')
def data_root(tmp_path_factory, pictures_root):
    root = tmp_path_factory.mktemp('recipes')
    write_data(root, pictures_root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize('name', RUNS)
def test_two_processes_train_like_one(name, data_root, tmp_path):
    rows = []
    for processes in (1, 2):
        run = recipe_run(name, data_root, tmp_path / str(processes), processes, **RUNS[name])
        in_processes(train, run, world_size=processes)
        rows.append(logged(tmp_path / str(processes)))
    assert len(rows[0]) == STEPS
    for step, (one, two) in enumerate(zip(*rows, strict=True)):
        assert two == pytest.approx(one, abs=1e-4), f'step {step}'
    assert rows[0][0]['loss'] != pytest.approx(rows[0][-1]['loss'], abs=1e-3)
