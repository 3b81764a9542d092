"""Text towers that detectors train."""

from vlm_dense.models.language.masked_words import MaskedIds, MaskedWords

__all__ = ['MaskedIds', 'MaskedWords']
