"""Official archives turned into the folders that the protocols read, and checked."""

from vlm_dense.datasets.preparation.dataset import DataSet
from vlm_dense.datasets.preparation.findings import Finding, Report
from vlm_dense.datasets.preparation.run import DATA_SETS, check, data_set, prepare

__all__ = ['DATA_SETS', 'DataSet', 'Finding', 'Report', 'check', 'data_set', 'prepare']
