"""Training and testing: configs checked, processes joined, checkpoints written whole."""

from vlm_dense.engine.checkpoint_hook import SafeCheckpointHook
from vlm_dense.engine.config_check import check_config, check_options
from vlm_dense.engine.mean_loss_hook import MeanLossHook
from vlm_dense.engine.request_words_hook import RequestWordsHook
from vlm_dense.engine.runner import WholeRunner, build_runner
from vlm_dense.engine.settings import read_config
from vlm_dense.engine.sync_norms import CpuSyncBatchNorm

__all__ = [
    'CpuSyncBatchNorm',
    'MeanLossHook',
    'RequestWordsHook',
    'SafeCheckpointHook',
    'WholeRunner',
    'build_runner',
    'check_config',
    'check_options',
    'read_config',
]
