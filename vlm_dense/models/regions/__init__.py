"""Region encoders: what a tower says about masks, for models that segment."""

from vlm_dense.models.regions.crop_reader import CropReader
from vlm_dense.models.regions.pool_reader import PoolReader
from vlm_dense.models.regions.region_reader import RegionReader, RegionRows

__all__ = ['CropReader', 'PoolReader', 'RegionReader', 'RegionRows']
