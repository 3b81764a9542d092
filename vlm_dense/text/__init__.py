"""Words: vocabulary, prompts, encoders and the text bank."""

from vlm_dense.text.bank import TextBank
from vlm_dense.text.controls import ShuffledBank
from vlm_dense.text.encoders import BridgedTextEncoder, OpenClipTextEncoder, TextEncoder
from vlm_dense.text.prompts import PROMPT_SETS, load_prompts
from vlm_dense.text.vocabulary import Vocabulary

__all__ = [
    'PROMPT_SETS',
    'BridgedTextEncoder',
    'OpenClipTextEncoder',
    'ShuffledBank',
    'TextBank',
    'TextEncoder',
    'Vocabulary',
    'load_prompts',
]
