"""Find things by words in a picture, from Python."""

from vlm_dense.apis.inference import Finder, Found, read_picture

__all__ = ['Finder', 'Found', 'read_picture']
