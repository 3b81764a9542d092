"""Evaluation by protocol: predictions are kept as they are made, and scored from where they are kept."""

from vlm_dense.engine.protocol_runs.again import score_again
from vlm_dense.engine.protocol_runs.loop import ProtocolLoop
from vlm_dense.engine.protocol_runs.result import table
from vlm_dense.engine.protocol_runs.settings import set_protocol

__all__ = ['ProtocolLoop', 'score_again', 'set_protocol', 'table']
