"""How many names fit the text window of a language model."""

from collections.abc import Iterable
from pathlib import Path

from vlm_dense.text.encoders.hf_folder import find_hf_folder, read_sentence_settings
from vlm_dense.text.prompt_packing import SEPARATOR


class PromptBudget:
    """Counts the tokens of names joined as `vlm_dense.text.prompt_packing` joins them, each name once.

    Tokens are counted as GLIP (arXiv:2112.03857) does, name by name with its separator. Tokenizers that split at white
    space and at punctuation first, as BERT's does, give the joined text the same tokens.

    Args:
        tokenizer: Folder of a language model, or another form that `vlm_dense.checkpoints.find_weights` takes.
        max_tokens: The text window, special tokens included.

    Raises:
        MissingFileError: If there is no such tokenizer on this machine.
        ConfigError: If the language model has fewer positions than ``max_tokens``.
    """

    def __init__(self, tokenizer: str | Path, max_tokens: int) -> None:
        # transformers is imported only by whoever counts.
        from vlm_dense.text.encoders.hf_model import load_hf_tokenizer

        self.max_tokens = max_tokens
        self._tokenizer = load_hf_tokenizer(read_sentence_settings(find_hf_folder(tokenizer)), max_tokens)
        self._counts: dict[str, int] = {}
        one, two = map(len, self._tokenizer.ids(['a. ', 'a. a. ']))
        self._marks = one - (two - one)

    def count(self, names: Iterable[str]) -> int:
        """Tokens of a prompt that holds these names, special tokens included.

        Raises:
            VocabularyError: If a name spells out a special token.
        """
        return self._marks + sum(map(self._count, names))

    def count_text(self, text: str) -> int:
        """Tokens of a text as it stands, special tokens included.

        Raises:
            VocabularyError: If it spells out a special token.
        """
        return len(self._tokenizer.ids([text])[0])

    def _count(self, name: str) -> int:
        if name not in self._counts:
            self._counts[name] = len(self._tokenizer.ids([name + SEPARATOR])[0]) - self._marks
        return self._counts[name]
