"""Top-level settings that are dictionaries without a type, and the names that are read in them."""

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop, set_random_seed
from torch.utils.data import DataLoader

from vlm_dense.engine.accepted_keys import accepted_keys

_DATALOADER = accepted_keys(DataLoader).names | {'num_batch_per_epoch'}
_TRAIN = accepted_keys(EpochBasedTrainLoop).names | accepted_keys(IterBasedTrainLoop).names | {'by_epoch'}

PLAIN_SECTIONS: dict[str, frozenset[str]] = {
    'train_dataloader': _DATALOADER,
    'val_dataloader': _DATALOADER,
    'test_dataloader': _DATALOADER,
    'train_cfg': _TRAIN,
    'val_cfg': accepted_keys(ValLoop).names,
    'test_cfg': accepted_keys(TestLoop).names,
    'auto_scale_lr': frozenset({'enable', 'base_batch_size'}),
    'randomness': accepted_keys(set_random_seed).names,
    'env_cfg': frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
}

# What a section is built as when it names no type.
TYPE_OF_SECTION = {'optim_wrapper': 'OptimWrapper'}

DEFAULT_HOOKS = frozenset(
    {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization'}
)
