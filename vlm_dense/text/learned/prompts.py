"""Context vectors that are learned in place of the words of a prompt (CoOp, CoCoOp, PromptDet)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.encoders.batching import rows_in_fixed_batches
from vlm_dense.text.encoders.frozen import CHUNK_SIZE, FrozenTextEncoder
from vlm_dense.text.encoders.tower import SlottedTokens, TextTower
from vlm_dense.text.learned.layout import make_layout
from vlm_dense.text.vocabulary import Vocabulary

INITIAL_SPREAD = 0.02  # standard deviation of CoOp's random contexts
META_REDUCTION = 16  # CoCoOp's bottleneck


@MODELS.register_module()
class LearnedPrompts(nn.Module):
    """Unit rows of a vocabulary, with gradient to the context vectors of its prompts.

    CoOp (arXiv:2109.01134) puts P vectors in the place of a prompt's words; CoCoOp (arXiv:2203.05557) adds to each a
    shift that a small network reads off the picture. The text tower is frozen: it is in eval mode, gets no gradient
    and is not in the state dict, yet follows the module to another device. Words are computed ``chunk_size`` at a
    time and once more in the backward pass, so memory does not grow with the vocabulary.

    Args:
        encoder: A text tower or frozen encoder, or its config.
        num_context: Number P of vectors; a pair for ``position='two_sided'``. None takes it from ``init_words``.
        position: Where the class name stands: 'end', 'front', 'middle' or 'two_sided'.
        init_words: Words whose token embeddings the vectors start from, such as 'a photo of a'; None draws them from
            N(0, 0.02).
        words: A vocabulary (or what makes one): each of its words has vectors of its own. None shares one set among
            all words, also those not seen before.
        conditional: Whether the vectors depend on the picture, as in CoCoOp.
        suffix: Text after everything.
        chunk_size: Prompts per forward pass.

    Raises:
        ConfigError: If the settings contradict each other.
    """

    def __init__(
        self,
        encoder: dict | TextTower | FrozenTextEncoder,
        num_context: int | Sequence[int] | None = None,
        position: str = 'end',
        init_words: str | None = None,
        words: Any = None,
        conditional: bool = False,
        suffix: str = '.',
        chunk_size: int = CHUNK_SIZE,
    ) -> None:
        super().__init__()
        # Inside a tuple, a module is not registered as a child.
        self._held = (frozen_tower(encoder),)
        start_PC = None if init_words is None else _word_embeddings(self.tower, init_words)
        self.layout = make_layout(_context_count(num_context, start_PC, position), position, suffix)
        self.words = None if words is None else Vocabulary.build(words)
        self.chunk_size = chunk_size
        shape = (1 if self.words is None else len(self.words), self.layout.num_context, self.tower.width)
        self.context_KPC = nn.Parameter(torch.empty(shape))
        self.meta_net = _make_meta_net(self.tower.embed_dim, self.tower.width) if conditional else None
        with torch.no_grad():
            if start_PC is None:
                nn.init.normal_(self.context_KPC, std=INITIAL_SPREAD)
            else:
                self.context_KPC.copy_(_fitting(start_PC, self.layout.num_context, init_words).expand(shape))

    @property
    def tower(self) -> TextTower:
        """The frozen text tower."""
        return self._held[0]

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.tower.embed_dim

    def forward(self, vocabulary: Vocabulary, image_BD: Tensor | None = None) -> Tensor:
        """Embed a vocabulary.

        Args:
            vocabulary: K words.
            image_BD: Embeddings of B pictures or regions, for ``conditional`` contexts only; they are normalised.

        Returns:
            (K, D) unit rows, or (B, K, D) with ``conditional``.

        Raises:
            VocabularyError: If a prompt is too long, or a word has no context among per-class ones.
            ConfigError: If pictures are missing, or given where contexts do not depend on them.
        """
        if (image_BD is None) != (self.meta_net is None):
            raise ConfigError(
                'these contexts depend on the picture: give image_BD.'
                if self.meta_net is not None
                else 'these contexts do not depend on the picture. Leave image_BD out, or set conditional=True.'
            )
        prompts = [self.tower.slotted(self.layout.parts(word)) for word in vocabulary.words]
        own = None if self.words is None else [self.words.index(word) for word in vocabulary.words]
        contexts_KPC = self.context_KPC.expand(len(prompts), -1, -1) if own is None else self.context_KPC[own]
        if self.meta_net is None or image_BD is None:
            return self._encode(prompts, lambda items: contexts_KPC[items], len(prompts))
        shift_BC = self.meta_net(F.normalize(image_BD, dim=-1))

        def contexts_of(items: list[int]) -> Tensor:
            rows = torch.tensor(items, device=shift_BC.device)
            return contexts_KPC[rows % len(prompts)] + shift_BC[rows // len(prompts)][:, None]

        return self._encode(prompts, contexts_of, len(prompts) * len(image_BD)).unflatten(0, (-1, len(prompts)))

    def _encode(self, prompts: list[SlottedTokens], contexts_of: Callable[[list[int]], Tensor], count: int) -> Tensor:
        """(count, D) unit rows; item i is prompt i modulo the number of prompts."""

        def run(items: list[int], length: int) -> Tensor:
            chunk = [prompts[item % len(prompts)] for item in items]

            def read(contexts_BPC: Tensor) -> Tensor:
                return F.normalize(self.tower.read_slotted(chunk, contexts_BPC, length), dim=-1)

            contexts_BPC = contexts_of(items)
            if not contexts_BPC.requires_grad:
                return read(contexts_BPC)
            return checkpoint(read, contexts_BPC, use_reentrant=False, preserve_rng_state=False)

        lengths = [self.tower.padded_length(len(prompt.ids), step=True) for prompt in prompts]
        return rows_in_fixed_batches(
            [lengths[item % len(prompts)] for item in range(count)], run, self.chunk_size, self.embed_dim
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.tower._apply(fn, recurse)
        return super()._apply(fn, recurse)


def frozen_tower(encoder: dict | TextTower | FrozenTextEncoder) -> TextTower:
    """A text tower in eval mode and without gradient.

    Raises:
        ConfigError: If it is none.
    """
    built = build_part(encoder)
    tower = built.tower if isinstance(built, FrozenTextEncoder) else built
    if not isinstance(tower, TextTower):
        raise ConfigError(
            f'{type(built).__name__} takes no context vectors. Name a text tower, such as vlm_dense.OpenClipTextTower.'
        )
    return tower.eval().requires_grad_(False)


def _word_embeddings(tower: TextTower, words: str) -> Tensor:
    spans = tower.tokenizer.tokens(words)
    ids = [token for token, span in zip(spans.ids, spans.spans, strict=True) if span is not None]
    with torch.no_grad():
        return tower.core.embed(torch.tensor([ids], device=next(tower.parameters()).device))[0].float()


def _context_count(asked: int | Sequence[int] | None, start_PC: Tensor | None, position: str) -> int | Sequence[int]:
    if asked is not None:
        return asked
    if start_PC is None:
        raise ConfigError('learned prompts need num_context, or init_words to start from.')
    if position == 'two_sided':
        raise ConfigError("position='two_sided' needs num_context=(before, after), also with init_words.")
    return len(start_PC)


def _fitting(start_PC: Tensor, num_context: int, words: str | None) -> Tensor:
    if len(start_PC) != num_context:
        raise ConfigError(
            f"init_words '{words}' are {len(start_PC)} tokens, but num_context asks for {num_context}. "
            'Leave num_context out, or make them equal.'
        )
    return start_PC


def _make_meta_net(embed_dim: int, width: int) -> nn.Sequential:
    hidden = max(embed_dim // META_REDUCTION, 1)
    return nn.Sequential(nn.Linear(embed_dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))
