"""LSeg: language-driven semantic segmentation. Import this package to register its types."""

from projects.lseg.lseg import SpatialBlock

__all__ = ['SpatialBlock']
