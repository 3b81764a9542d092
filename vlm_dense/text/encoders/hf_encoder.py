"""Hugging Face text models (BERT, RoBERTa, XLM-R, MPNet, MiniLM), frozen."""

from pathlib import Path

from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.frozen import CHUNK_SIZE, FrozenTextEncoder
from vlm_dense.text.encoders.hf_folder import find_hf_folder, read_sentence_settings
from vlm_dense.text.encoders.hf_model import HFTextModel, hf_fingerprint, load_hf_tokenizer, sentence_pooling
from vlm_dense.text.encoders.tokens import TextTokenizer
from vlm_dense.text.encoders.tower import TextTower


@MODELS.register_module()
class HFTextEncoder(FrozenTextEncoder):
    """Sentence vectors of a Hugging Face text model, on the CPU in float32.

    The folder is looked for when the encoder is made, and its weights are read at the first text.

    Args:
        model: Folder, or name of a repository, as `vlm_dense.checkpoints.find_weights` takes it.
        pooling: As in `HFTextModel`.
        max_tokens: As in `HFTextModel`.
        chunk_size: Texts per forward pass.

    Raises:
        MissingFileError: If the model is not on this machine.
        ConfigError: If the folder asks for a step or a pooling that is not known here.
    """

    def __init__(
        self,
        model: str | Path,
        pooling: str | None = None,
        max_tokens: int | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> None:
        super().__init__(chunk_size)
        self._folder = find_hf_folder(model)
        self._settings = read_sentence_settings(self._folder)
        self._asked = pooling, max_tokens

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's files, and the settings."""
        return hf_fingerprint(self._settings, sentence_pooling(self._settings, self._asked[0]), self.max_tokens)

    def _load_tokenizer(self) -> TextTokenizer:
        return load_hf_tokenizer(self._settings, self._asked[1])

    def _load(self) -> TextTower:
        return HFTextModel(self._folder, *self._asked)
