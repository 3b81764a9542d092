"""Words: vocabulary, prompts, encoders, learned prompts and the text bank."""

from vlm_dense.text.averaging import AVERAGINGS, max_over_synonyms, mean_over_synonyms
from vlm_dense.text.bank import TextBank
from vlm_dense.text.controls import ShuffledBank
from vlm_dense.text.drawn_prompts import DrawnPromptBank
from vlm_dense.text.encoders import (
    BridgedTextEncoder,
    HFTextEncoder,
    HFTextModel,
    OpenClipTextEncoder,
    OpenClipTextTower,
    TextEncoder,
    TextTower,
    TokenVectors,
    block_mask,
    blocks_of_spans,
    restarted_positions,
)
from vlm_dense.text.extra_rows import ExtraRows
from vlm_dense.text.learned import LearnedPromptBank, LearnedPrompts, PromptLearner
from vlm_dense.text.phrases import Phrase, noun_phrases
from vlm_dense.text.prompts import PROMPT_SETS, load_prompts
from vlm_dense.text.vocabulary import Vocabulary

__all__ = [
    'AVERAGINGS',
    'PROMPT_SETS',
    'BridgedTextEncoder',
    'DrawnPromptBank',
    'ExtraRows',
    'HFTextEncoder',
    'HFTextModel',
    'LearnedPromptBank',
    'LearnedPrompts',
    'OpenClipTextEncoder',
    'OpenClipTextTower',
    'Phrase',
    'PromptLearner',
    'ShuffledBank',
    'TextBank',
    'TextEncoder',
    'TextTower',
    'TokenVectors',
    'Vocabulary',
    'block_mask',
    'blocks_of_spans',
    'load_prompts',
    'max_over_synonyms',
    'mean_over_synonyms',
    'noun_phrases',
    'restarted_positions',
]
