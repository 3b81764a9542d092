"""Learned prompts: context vectors in place of hand-written words, trained with the text encoder frozen."""

from vlm_dense.text.learned.bank import LearnedPromptBank
from vlm_dense.text.learned.learner import PromptLearner
from vlm_dense.text.learned.prompts import LearnedPrompts

__all__ = ['LearnedPromptBank', 'LearnedPrompts', 'PromptLearner']
