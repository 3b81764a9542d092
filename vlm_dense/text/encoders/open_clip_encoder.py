"""The text half of any open_clip model."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vlm_dense.checkpoints.open_clip_models import OpenClipSource, find_open_clip, load_open_clip, offline
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.base import check_token_counts, encode_in_chunks


@MODELS.register_module()
class OpenClipTextEncoder:
    """Texts to the embedding space of an open_clip model, on the CPU in float32.

    Weights are looked for when the encoder is made and read at the first text. Nothing is ever downloaded.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint, a tag whose file is in a local cache, or None for random weights that are
            the same in every process.
        chunk_size: Texts per forward pass.

    Raises:
        ConfigError: If the architecture is unknown.
        MissingFileError: If the weights are not on this machine.
    """

    def __init__(self, name: str, pretrained: str | None = None, chunk_size: int = 64) -> None:
        self.chunk_size = chunk_size
        self._source: OpenClipSource = find_open_clip(name, pretrained)
        self._fingerprint: str | None = None
        self._model: nn.Module | None = None
        self._tokenizer: Any = None

    @property
    def embed_dim(self) -> int:
        """Width D of the shared space."""
        return self._source.embed_dim

    @property
    def fingerprint(self) -> str:
        """Architecture and SHA-256 of the weights."""
        if self._fingerprint is None:
            self._fingerprint = self._source.fingerprint()
        return self._fingerprint

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Encode texts.

        Args:
            texts: N texts.

        Returns:
            (N, D) float32 unit rows on the CPU.

        Raises:
            VocabularyError: If a text has more tokens than the model's context; open_clip itself would cut it.
        """
        model, tokenizer = self._load()
        limit = tokenizer.context_length
        check_token_counts(texts, [_count_tokens(tokenizer, text) for text in texts], limit)
        return encode_in_chunks(
            texts, lambda chunk: model.encode_text(tokenizer(chunk)), self.chunk_size, self.embed_dim
        )

    def _load(self) -> tuple[Any, Any]:
        if self._model is None:
            self._tokenizer = _make_tokenizer(self._source)
            model = load_open_clip(self._source)
            del model.visual
            self._model = model.requires_grad_(False)
        return self._model, self._tokenizer


def _make_tokenizer(source: OpenClipSource) -> Any:
    import open_clip

    text_config = source.config['text_cfg']
    uses_hub = bool(text_config.get('hf_tokenizer_name'))
    if not uses_hub and 'siglip' in source.name.lower():
        raise ConfigError(
            f"'{source.name}' names no tokenizer, and open_clip would download one. "
            "Add 'hf_tokenizer_name' to the text_cfg of its config."
        )
    try:
        with offline():
            return open_clip.get_tokenizer(source.name, **({'local_files_only': True} if uses_hub else {}))
    except OSError as error:
        raise MissingFileError(
            f"the tokenizer '{text_config['hf_tokenizer_name']}' of '{source.name}' is not in Hugging Face's cache. "
            'Fetch it where there is a network.'
        ) from error


def _count_tokens(tokenizer: Any, text: str) -> int:
    """Tokens that a text takes with its start and end marks, before any cutting."""
    if hasattr(tokenizer, 'encode'):
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids)
