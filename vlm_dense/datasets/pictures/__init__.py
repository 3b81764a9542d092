"""The built-in picture set: scenes composed of named cut-outs, with boxes, masks, captions and label maps."""

from vlm_dense.datasets.pictures.compose import compose_pictures
from vlm_dense.datasets.pictures.manifest import PictureRequest, read_manifest

__all__ = ['PictureRequest', 'compose_pictures', 'read_manifest']
