"""Training and testing: configs checked, processes joined, checkpoints written whole."""

from vlm_dense.engine.config_check import check_config, check_options

__all__ = ['check_config', 'check_options']
