"""Noun phrases of captions, with the places where they stand."""

from vlm_dense.text.phrases.phrase import Phrase, noun_phrases

__all__ = ['Phrase', 'noun_phrases']
