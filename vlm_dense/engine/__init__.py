"""Training and testing: configs checked, processes joined, checkpoints written whole."""

from vlm_dense.engine.checkpoint_hook import SafeCheckpointHook
from vlm_dense.engine.config_check import check_config, check_options
from vlm_dense.engine.mean_loss_hook import MeanLossHook
from vlm_dense.engine.mixed_precision import Bfloat16OptimWrapper
from vlm_dense.engine.request_words_hook import RequestWordsHook
from vlm_dense.engine.runner import WholeRunner, build_runner
from vlm_dense.engine.save_contexts_hook import SaveContextsHook
from vlm_dense.engine.seeding import StepSeedHook
from vlm_dense.engine.settings import read_config
from vlm_dense.engine.sharding import ShardedDataParallel
from vlm_dense.engine.skipping import SkipSeenBatchesHook
from vlm_dense.engine.sync_norms import CpuSyncBatchNorm

__all__ = [
    'Bfloat16OptimWrapper',
    'CpuSyncBatchNorm',
    'MeanLossHook',
    'RequestWordsHook',
    'SafeCheckpointHook',
    'SaveContextsHook',
    'ShardedDataParallel',
    'SkipSeenBatchesHook',
    'StepSeedHook',
    'WholeRunner',
    'build_runner',
    'check_config',
    'check_options',
    'read_config',
]
