"""Text towers that detectors train."""

from vlm_dense.models.language.masked_words import MaskedIds, MaskedWords
from vlm_dense.models.language.token_language_model import TokenLanguageModel

__all__ = ['MaskedIds', 'MaskedWords', 'TokenLanguageModel']
