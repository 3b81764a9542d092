"""From texts to token ids, with the characters that each token stands for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text.encoders.base import check_texts, shorten
from vlm_dense.text.encoders.spans import Span, join_spans, trace_characters

SPACE_MARK = '\u2581'


@dataclass(frozen=True)
class Tokens:
    """One text: ``ids`` with its special tokens, and for each the characters of the caller's text or None.

    Special tokens have no span, nor has a token of nothing but white space.
    """

    ids: tuple[int, ...]
    spans: tuple[Span | None, ...]


class TextTokenizer(Protocol):
    """Texts to ids; never cuts, never pads."""

    max_tokens: int
    pad_id: int
    pads_left: bool

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included.

        Raises:
            VocabularyError: If a text cannot be read, or spells out a special token.
        """

    def tokens(self, text: str) -> Tokens:
        """Token ids of one text, with spans.

        Raises:
            VocabularyError: As `ids`, and where the spans cannot be told.
        """


class ClipTokenizer:
    """open_clip's own byte-pair tokenizer (OpenAI's CLIP), which lower-cases and mends what it reads.

    Args:
        tokenizer: ``open_clip.SimpleTokenizer``.
    """

    pad_id = 0
    pads_left = False

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = int(tokenizer.context_length)
        self._marks = set(tokenizer.all_special_ids)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As `TextTokenizer.ids`."""
        check_texts(texts)
        return [self._between_marks(text, self._tokenizer.encode(text)) for text in texts]

    def tokens(self, text: str) -> Tokens:
        """As `TextTokenizer.tokens`."""
        check_texts([text])
        tokenizer = self._tokenizer
        cleaned, origins = trace_characters(text, tokenizer.clean_fn)
        ids: list[int] = []
        spans: list[Span | None] = [None]
        for match in tokenizer.pat.finditer(cleaned):
            for piece, first, last in _pieces(tokenizer, match.group()):
                ids.append(tokenizer.encoder[piece])
                spans.append(join_spans(origins, cleaned, match.start() + first, match.start() + last))
        return Tokens(tuple(self._between_marks(text, ids)), (*spans, None))

    def _between_marks(self, text: str, ids: list[int]) -> list[int]:
        if not self._marks.isdisjoint(ids):
            raise VocabularyError(_spells_special(text, '<start_of_text> or <end_of_text>'))
        return [self._tokenizer.sot_token_id, *ids, self._tokenizer.eot_token_id]


class HubTokenizer:
    """A Hugging Face tokenizer.

    Args:
        tokenizer: Any ``PreTrainedTokenizerBase``; character spans need a fast one.
        max_tokens: The longest text, special tokens included.
        clean: What is done to a text before.
        blank_separator: Whether the separator is written as 0 (open_clip's ``strip_sep_token``).
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        clean: Callable[[str], str] | None = None,
        blank_separator: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._clean = clean
        self._blanked = tokenizer.sep_token_id if blank_separator else None
        self.max_tokens = max_tokens
        self.pad_id = int(tokenizer.pad_token_id or 0)
        self.pads_left = tokenizer.padding_side == 'left'
        names = ('pad_token_id', 'cls_token_id', 'sep_token_id', 'bos_token_id', 'eos_token_id')
        found = [getattr(tokenizer, name, None) for name in names]
        self._marks = {int(token) for token in found if token is not None}
        self._mark_count = self._count_marks(tokenizer('', verbose=False).input_ids)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As `TextTokenizer.ids`."""
        check_texts(texts)
        if not texts:
            return []
        cleaned = list(texts) if self._clean is None else [self._clean(text) for text in texts]
        rows = self._tokenizer(cleaned, verbose=False).input_ids  # it would warn of lengths that are refused later
        return [self._checked(text, row) for text, row in zip(texts, rows, strict=True)]

    def tokens(self, text: str) -> Tokens:
        """As `TextTokenizer.tokens`.

        Raises:
            ConfigError: If the tokenizer is written in Python and keeps no offsets.
        """
        check_texts([text])
        if not self._tokenizer.is_fast:
            raise ConfigError(
                f'{type(self._tokenizer).__name__} tells no character spans. Save a tokenizer.json beside the model.'
            )
        if self._clean is None:
            cleaned, origins = text, [(index, index + 1) for index in range(len(text))]
        else:
            cleaned, origins = trace_characters(text, self._clean)
        found = self._tokenizer(cleaned, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
        pieces = self._tokenizer.convert_ids_to_tokens(found['input_ids'])
        spans = [
            # SentencePiece's mark of a space claims the letter after it where it stands alone.
            None if special or piece == SPACE_MARK else join_spans(origins, cleaned, *offsets)
            for piece, offsets, special in zip(
                pieces, found['offset_mapping'], found['special_tokens_mask'], strict=True
            )
        ]
        return Tokens(tuple(self._checked(text, found['input_ids'])), tuple(spans))

    def _checked(self, text: str, ids: list[int]) -> list[int]:
        if self._count_marks(ids) > self._mark_count:
            marks = self._tokenizer.convert_ids_to_tokens(sorted(self._marks))
            raise VocabularyError(_spells_special(text, ' or '.join(marks)))
        return [0 if token == self._blanked else token for token in ids]

    def _count_marks(self, ids: Sequence[int]) -> int:
        return sum(token in self._marks for token in ids)


def _pieces(tokenizer: Any, word: str) -> list[tuple[str, int, int]]:
    """Byte-pair pieces of a word with the characters each touches: pieces may end inside a character."""
    character_of = [index for index, letter in enumerate(word) for _ in letter.encode()]
    byte_letters = ''.join(tokenizer.byte_encoder[byte] for byte in word.encode())
    found = []
    start = 0
    for piece in tokenizer.bpe(byte_letters).split(' '):
        end = start + len(piece.removesuffix('</w>'))
        found.append((piece, character_of[start], character_of[end - 1] + 1))
        start = end
    return found


def _spells_special(text: str, marks: str) -> str:
    return (
        f"'{shorten(text)}' spells out a token that its tokenizer keeps for itself ({marks}), and would be read "
        'up to there only. Remove it.'
    )
