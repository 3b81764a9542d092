"""A text transformer with its tokenizer, as a module: sentence vectors, token vectors and pseudo-words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text.encoders.base import check_token_counts, shorten
from vlm_dense.text.encoders.batching import bucket_length
from vlm_dense.text.encoders.spans import Span
from vlm_dense.text.encoders.tokens import TextTokenizer

PLACE = '{}'
STAND_IN = 'x'  # tokenised where a pseudo-word goes; its embedding is replaced
READOUTS = ('projected', 'last_block')


class TextCore(nn.Module):
    """The transformer behind a tower: token embeddings in, sentence and token vectors out.

    ``embed_dim`` is the width D of what is read, ``width`` the width C of token embeddings. ``trims`` tells that
    padding after a text changes nothing; ``kept_padding`` padded places must then stay where the context has them.
    """

    embed_dim: int
    width: int
    trims: bool
    kept_padding: int = 0

    def embed(self, ids_BL: Tensor) -> Tensor:
        """Token ids to (B, L, C) embeddings without positions."""
        raise NotImplementedError

    def states(self, ids_BL: Tensor, embedded_BLC: Tensor) -> Any:
        """Run the transformer; ids tell padding and end marks."""
        raise NotImplementedError

    def sentence(self, states: Any, ids_BL: Tensor) -> Tensor:
        """(B, D) sentence vectors of `states`, not normalised."""
        raise NotImplementedError

    def token_vectors(self, states: Any) -> Tensor:
        """(B, L, D) token vectors of `states`, in the space of the sentence vectors."""
        raise NotImplementedError

    def last_block(self, states: Any, ids_BL: Tensor) -> Tensor:
        """(B, C) state after the last residual block where the sentence is read, before norm and projection.

        Raises:
            ConfigError: If the architecture reads its sentence from several places.
        """
        raise ConfigError(
            f"{type(self).__name__} has no readout 'last_block': it does not read a text at one place. "
            "Take readout='projected', or open_clip's own text transformer."
        )


@dataclass(frozen=True)
class SlottedTokens:
    """Token ids of a text in which some places, where ``is_slot``, take vectors instead of embeddings."""

    ids: tuple[int, ...]
    is_slot: tuple[bool, ...]


@dataclass(frozen=True)
class TokenVectors:
    """(L, D) vectors of one text's tokens, and their spans as in `Tokens`."""

    vectors_LD: Tensor
    spans: tuple[Span | None, ...]


class TextTower(nn.Module):
    """A `TextCore` with its tokenizer.

    Everything here computes with gradient, on the device of the weights, and gives vectors that are not normalised.

    Args:
        core: The transformer.
        tokenizer: Its tokenizer.
        readout: 'projected' for the sentence vector, or 'last_block' for the state after the last residual block at
            the place where the sentence is read, before norm and projection (BARON's 'attn12').

    Raises:
        ConfigError: If there is no such read-out.
    """

    def __init__(self, core: TextCore, tokenizer: TextTokenizer, readout: str = 'projected') -> None:
        super().__init__()
        check_readout(readout)
        self.core = core
        self.tokenizer = tokenizer
        self.readout = readout

    @property
    def embed_dim(self) -> int:
        """Width D of the sentence vectors."""
        return self.core.embed_dim if self.readout == 'projected' else self.core.width

    @property
    def fingerprint(self) -> str:
        """Names the tower, the weights it started from and its settings."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Width C of the token embeddings."""
        return self.core.width

    @property
    def max_tokens(self) -> int:
        """The longest text in tokens, special tokens included."""
        return self.tokenizer.max_tokens

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included.

        Raises:
            VocabularyError: If a text cannot be read or is longer than `max_tokens`.
        """
        rows = self.tokenizer.ids(texts)
        check_token_counts(texts, [len(row) for row in rows], self.max_tokens)
        return rows

    def padded_length(self, count: int, step: bool = False) -> int:
        """The least number of places that gives a text of ``count`` tokens the vector that the full context gives.

        Args:
            count: Tokens, special tokens included.
            step: Round up to a multiple of eight, so that texts of like length share a shape.
        """
        if not self.core.trims or self.tokenizer.pads_left:
            return self.max_tokens
        needed = min(count + self.core.kept_padding, self.max_tokens)
        return bucket_length(needed, self.max_tokens) if step else needed

    def pad(self, rows: Sequence[Sequence[int]], length: int) -> Tensor:
        """Token ids of B texts to (B, length), on the device of the weights."""
        ids_BL = torch.full((len(rows), length), self.tokenizer.pad_id, dtype=torch.long)
        for padded_L, row in zip(ids_BL, rows, strict=True):
            start = length - len(row) if self.tokenizer.pads_left else 0
            padded_L[start : start + len(row)] = torch.tensor(row)
        return ids_BL.to(next(self.parameters()).device)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Texts to (N, D) sentence vectors, padded to the longest of them only.

        Raises:
            VocabularyError: If a text cannot be read or is longer than `max_tokens`.
        """
        rows = self.tokenise(texts)
        return self.read(self.pad(rows, max((self.padded_length(len(row)) for row in rows), default=1)))

    def read(self, ids_BL: Tensor, slot_BL: Tensor | None = None, slotted_BPC: Tensor | None = None) -> Tensor:
        """Padded token ids to (B, D) sentence vectors.

        Args:
            ids_BL: Token ids of `pad`.
            slot_BL: Boolean, P places per row that take ``slotted_BPC`` instead of their embedding.
            slotted_BPC: Vectors in the space of the token embeddings.
        """
        embedded_BLC = self.core.embed(ids_BL)
        if slot_BL is not None and slotted_BPC is not None:
            embedded_BLC = embedded_BLC.masked_scatter(slot_BL[..., None], slotted_BPC.to(embedded_BLC.dtype))
        states = self.core.states(ids_BL, embedded_BLC)
        if self.readout == 'last_block':
            return self.core.last_block(states, ids_BL)
        return self.core.sentence(states, ids_BL)

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """One vector per token of each text, in the space of the sentence vectors, with the token's characters.

        Raises:
            VocabularyError: As `tokenise`, and where spans cannot be told.
            ConfigError: If the tokenizer keeps no offsets.
        """
        found = [self.tokenizer.tokens(text) for text in texts]
        check_token_counts(texts, [len(tokens.ids) for tokens in found], self.max_tokens)
        length = max((self.padded_length(len(tokens.ids)) for tokens in found), default=1)
        ids_BL = self.pad([tokens.ids for tokens in found], length)
        vectors_BLD = self.core.token_vectors(self.core.states(ids_BL, self.core.embed(ids_BL)))
        starts = [length - len(tokens.ids) if self.tokenizer.pads_left else 0 for tokens in found]
        return [
            TokenVectors(vectors_LD[start : start + len(tokens.ids)], tokens.spans)
            for vectors_LD, tokens, start in zip(vectors_BLD, found, starts, strict=True)
        ]

    def encode_pseudo(self, pseudo_BPC: Tensor, text: str | Sequence[str] = PLACE) -> Tensor:
        """Pseudo-words to (B, D) sentence vectors; gradients flow into them.

        Args:
            pseudo_BPC: P vectors per row, in the space of the token embeddings.
            text: Where they go: '{}' alone puts them between the start and the end token, 'a photo of {}.' inside a
                text. One for all rows, or one per row.

        Raises:
            ConfigError: If a text does not hold '{}' exactly once.
            VocabularyError: If a text grows longer than `max_tokens`.
        """
        texts = [text] * len(pseudo_BPC) if isinstance(text, str) else list(text)
        return self.read_slotted([self.slotted_text(one, pseudo_BPC.shape[1]) for one in texts], pseudo_BPC)

    def read_slotted(self, rows: Sequence[SlottedTokens], slotted_BPC: Tensor, length: int | None = None) -> Tensor:
        """Texts of `slotted` with the vectors for their slots to (B, D) sentence vectors.

        Args:
            rows: B texts with P slots each.
            slotted_BPC: Vectors in the space of the token embeddings.
            length: Padded length; None pads to the longest.
        """
        if length is None:
            length = max((self.padded_length(len(row.ids)) for row in rows), default=1)
        ids_BL = self.pad([row.ids for row in rows], length)
        slot_BL = torch.zeros(ids_BL.shape, dtype=torch.bool)
        for slot_L, row in zip(slot_BL, rows, strict=True):
            start = length - len(row.ids) if self.tokenizer.pads_left else 0
            slot_L[start : start + len(row.ids)] = torch.tensor(row.is_slot)
        return self.read(ids_BL, slot_BL.to(ids_BL.device), slotted_BPC)

    def slotted_text(self, text: str, count: int) -> SlottedTokens:
        """Tokens of a text with ``count`` slots at its '{}'.

        Raises:
            ConfigError: If '{}' is not there exactly once.
            VocabularyError: As `slotted`.
        """
        parts = text.split(PLACE)
        if len(parts) != 2:
            raise ConfigError(f"'{text}' must hold '{PLACE}' exactly once, where the pseudo-words go.")
        return self.slotted([parts[0], count, parts[1]])

    def slotted(self, parts: Sequence[str | int]) -> SlottedTokens:
        """Tokens of a text with slots: strings are text, a number stands for as many slots.

        Raises:
            VocabularyError: If the text is too long, or its tokenizer joins a slot with the letters beside it.
        """
        text = ''.join(STAND_IN if isinstance(part, int) else part for part in parts)
        slots = slot_spans(parts)
        tokens = self.tokenizer.tokens(text)
        ids: list[int] = []
        is_slot: list[bool] = []
        left = dict(slots)
        for token, span in zip(tokens.ids, tokens.spans, strict=True):
            met = [place for place in slots if span is not None and span[0] < place + 1 and place < span[1]]
            if not met:
                ids.append(token)
                is_slot.append(False)
                continue
            if span != (met[0], met[0] + 1):
                raise VocabularyError(
                    f"pseudo-words cannot stand in '{shorten(text)}' at character {met[0]}: the tokenizer joins "
                    'them with their neighbours. Put spaces around them.'
                )
            count = left.pop(met[0], 0)
            ids.extend([token] * count)
            is_slot.extend([True] * count)
        check_token_counts([text], [len(ids)], self.max_tokens)
        return SlottedTokens(tuple(ids), tuple(is_slot))


def slot_spans(parts: Sequence[str | int]) -> dict[int, int]:
    """Where the stand-in of each number stands in the joined text, with that number."""
    found = {}
    place = 0
    for part in parts:
        if isinstance(part, int):
            found[place] = part
        place += len(STAND_IN) if isinstance(part, int) else len(part)
    return found


def check_readout(readout: str) -> None:
    """Refuse a read-out that is none of `READOUTS`."""
    if readout not in READOUTS:
        raise ConfigError(f"readout='{readout}': write {' or '.join(repr(name) for name in READOUTS)}.")
