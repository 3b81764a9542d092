import io
import os

import pytest
import torch
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset

from vlm_dense.checkpoints import install
from vlm_dense.errors import CheckpointError, MissingFileError

URL = 'http://localhost:9/models/weights.pth'  # nothing listens there


@pytest.fixture(autouse=True)
def installed():
    """mmengine's own readers come back after each test."""
    from mmengine.runner import checkpoint

    schemes, load_url = dict(CheckpointLoader._schemes), checkpoint.load_url
    install()
    install()
    yield
    CheckpointLoader._schemes = schemes
    checkpoint.load_url = load_url


class Pairs(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((3,), float(index)), torch.tensor([float(index)])


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, inputs, targets, mode='tensor'):
        loss = (self.linear(torch.stack(inputs)) - torch.stack(targets)).square().mean()
        return {'loss': loss} if mode == 'loss' else loss


def runner(folder, name, **settings):
    return Runner(
        model=Toy(),
        work_dir=str(folder),
        train_dataloader={'dataset': Pairs(), 'batch_size': 2, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
        train_cfg={'type': 'IterBasedTrainLoop', 'max_iters': settings.pop('max_iters')},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.01}},
        param_scheduler={'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 10},
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 2, 'by_epoch': False}},
        default_scope='mmengine',
        experiment_name=name,
        log_level='ERROR',
        **settings,
    )


def test_train_save_and_resume(tmp_path):
    first = runner(tmp_path / 'a', 'safe_first', max_iters=2)
    first.train()
    path = tmp_path / 'a' / 'iter_2.pth'
    refused = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    assert any('HistoryBuffer' in name for name in refused), 'the checkpoint no longer needs our reader'

    second = runner(tmp_path / 'b', 'safe_second', max_iters=3, load_from=str(path), resume=True)
    second.load_or_resume()
    assert second.iter == 2
    for name, weight in first.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], weight, rtol=0, atol=0)
    before = first.message_hub.get_scalar('train/loss').data
    after = second.message_hub.get_scalar('train/loss').data
    assert before[0].tolist() == after[0].tolist()
    assert len(after[0]) == 2
    assert second.message_hub.get_scalar('train/loss').mean() == pytest.approx(before[0].mean())

    second.train()
    assert second.iter == 3
    assert len(second.message_hub.get_scalar('train/loss').data[0]) == 3
    moments = [state['exp_avg'] for state in second.optim_wrapper.optimizer.state.values()]
    steps = [int(state['step']) for state in second.optim_wrapper.optimizer.state.values()]
    assert steps == [3, 3]
    assert all(moment.abs().sum() > 0 for moment in moments)
    assert second.param_schedulers[0].last_step == 3


def test_pretrained_of_init_cfg_reads_safetensors(tmp_path):
    class Part(BaseModule):
        def __init__(self, init_cfg):
            super().__init__(init_cfg)
            self.linear = nn.Linear(2, 2)

    weights = {'linear.weight': torch.full((2, 2), 3.0), 'linear.bias': torch.zeros(2)}
    save_file(weights, tmp_path / 'x.safetensors')
    part = Part({'type': 'Pretrained', 'checkpoint': str(tmp_path / 'x.safetensors')})
    part.init_weights()
    torch.testing.assert_close(part.linear.weight, torch.full((2, 2), 3.0))


def test_runner_reads_safetensors(tmp_path):
    toy = Toy()
    save_file(toy.state_dict(), tmp_path / 'x.safetensors')
    target = runner(tmp_path, 'safe_tensors', max_iters=1, load_from=str(tmp_path / 'x.safetensors'))
    target.load_or_resume()
    torch.testing.assert_close(target.model.linear.weight, toy.linear.weight)


def test_missing_path_names_itself():
    with pytest.raises(MissingFileError, match=r'nowhere/x\.pth'):
        load_checkpoint(Toy(), 'nowhere/x.pth')


class Plant:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('by_url', [True, False])
def test_planted_code_does_not_run(tmp_path, monkeypatch, by_url):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    torch.save({'state_dict': Toy().state_dict(), 'meta': Plant(tmp_path / 'planted')}, folder / 'weights.pth')
    with pytest.raises(CheckpointError, match='mkdir'):
        load_checkpoint(Toy(), URL if by_url else str(folder / 'weights.pth'))
    assert not (tmp_path / 'planted').exists()


def test_url_from_the_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    source, target = Toy(), Toy()
    torch.save({'state_dict': source.state_dict()}, folder / 'weights.pth')
    load_checkpoint(target, URL)
    torch.testing.assert_close(target.linear.weight, source.linear.weight)


def as_bytes(state, save):
    buffer = io.BytesIO()
    save(state, buffer)
    return buffer.getvalue()


def test_url_is_downloaded_where_it_is_not_cached(online):
    source, target = Toy(), Toy()
    online.files['models/weights.pth'] = as_bytes({'state_dict': source.state_dict()}, torch.save)
    load_checkpoint(target, f'{online.url}/models/weights.pth')
    load_checkpoint(target, f'{online.url}/models/weights.pth')
    assert online.asked == ['GET /models/weights.pth']
    torch.testing.assert_close(target.linear.weight, source.linear.weight)


def test_url_that_breaks_off_is_not_kept(online):
    online.files['models/weights.pth'] = as_bytes(Toy().state_dict(), torch.save)
    online.breaks = True
    with pytest.raises(MissingFileError, match='broke off'):
        load_checkpoint(Toy(), f'{online.url}/models/weights.pth')
    online.breaks = False
    load_checkpoint(Toy(), f'{online.url}/models/weights.pth')


def test_url_that_cannot_be_fetched(online, tmp_path):
    with pytest.raises(MissingFileError, match=r'weights\.pth.*(?i:download) it elsewhere'):
        load_checkpoint(Toy(), URL)
    assert not list(tmp_path.rglob('weights.pth'))


def test_url_when_offline(online, monkeypatch):
    monkeypatch.setenv('VLM_DENSE_OFFLINE', '1')
    with pytest.raises(MissingFileError, match=f'VLM_DENSE_OFFLINE=1 is set(?s:.*)vlm-dense fetch {online.url}/x.pth'):
        load_checkpoint(Toy(), f'{online.url}/x.pth')
    assert not online.asked


def test_hub_files_from_the_cache_and_from_a_folder(empty_home):
    """A revision that looks like none of the usual names is kept apart."""
    toys = {'main': Toy(), 'v2': Toy()}
    for revision, toy in toys.items():
        snapshot = empty_home / 'hub' / 'models--owner--repo' / 'snapshots' / f'commit-{revision}'
        snapshot.mkdir(parents=True)
        save_file(toy.state_dict(), snapshot / 'w.safetensors')
        (empty_home / 'hub' / 'models--owner--repo' / 'refs').mkdir(exist_ok=True)
        (empty_home / 'hub' / 'models--owner--repo' / 'refs' / revision).write_text(f'commit-{revision}')
    for address, expected in (('w.safetensors', 'main'), ('w.safetensors@v2', 'v2')):
        target = Toy()
        load_checkpoint(target, f'hf://owner/repo/{address}')
        torch.testing.assert_close(target.linear.weight, toys[expected].linear.weight)
    with pytest.raises(MissingFileError, match=r'vlm-dense fetch hf://owner/repo/other\.pth@v2'):
        load_checkpoint(Toy(), 'hf://owner/repo/other.pth@v2')
    (empty_home / 'checkpoints' / 'repo').mkdir(parents=True)
    torch.save(toys['v2'].state_dict(), empty_home / 'checkpoints' / 'repo' / 'other.pth')
    load_checkpoint(target, 'hf://owner/repo/other.pth')
