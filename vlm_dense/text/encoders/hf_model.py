"""Hugging Face text models (BERT, RoBERTa, XLM-R, MPNet, MiniLM) as a module."""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.checkpoints.coverage import some
from vlm_dense.checkpoints.switches import offline
from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.block_masks import check_additive_mask
from vlm_dense.text.encoders.hf_folder import (
    POOLINGS,
    SentenceSettings,
    find_hf_folder,
    folder_fingerprint,
    read_sentence_settings,
)
from vlm_dense.text.encoders.tokens import HubTokenizer
from vlm_dense.text.encoders.tower import TextCore, TextTower

ATTENTIONS = ('sdpa', 'eager')
UNBOUNDED = 10**6  # tokenizers without a limit report a huge one
MASKED_TYPES = ('bert', 'roberta', 'xlm-roberta', 'camembert', 'mpnet')  # embeddings and encoder called one by one


class HFTextCore(TextCore):
    """An encoder-only transformer and how its states become a sentence vector.

    Args:
        model: What ``AutoModel`` made.
        pooling: 'mean' of the states of real tokens, 'cls' for the first state, 'pooler' for the model's own.
        unit_length: Whether the model itself normalises its sentence vectors.

    Raises:
        ConfigError: If the pooling is unknown or the model has no pooler of its own.
    """

    trims = True

    def __init__(self, model: Any, pooling: str, unit_length: bool = False) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling='{pooling}': write {', '.join(repr(name) for name in POOLINGS)}.")
        if pooling == 'pooler' and getattr(model, 'pooler', None) is None:
            raise ConfigError(f"{type(model).__name__} has no pooler of its own. Take pooling='mean' or 'cls'.")
        self.model = model
        self.pooling = pooling
        self.unit_length = unit_length
        self.width = self.embed_dim = int(model.config.hidden_size)
        self.pad_id = int(model.config.pad_token_id or 0)

    def embed(self, ids_BL: Tensor) -> Tensor:
        """As `TextCore.embed`."""
        return self.model.get_input_embeddings()(ids_BL)

    def states(self, ids_BL: Tensor, embedded_BLC: Tensor) -> tuple[Any, Tensor]:
        """What the model gives, and which tokens are real."""
        real_BL = ids_BL != self.pad_id
        return self.model(inputs_embeds=embedded_BLC, attention_mask=real_BL.long()), real_BL

    def masked_states(self, ids_BL: Tensor, mask_B1LL: Tensor, position_BL: Tensor | None) -> Tensor:
        """(B, L, C) last states under an additive mask; see `HFTextModel.token_states`."""
        if self.model.config.model_type not in MASKED_TYPES:
            raise ConfigError(
                f"sub-sentence masks are not known for '{self.model.config.model_type}' models; "
                f'they are for {", ".join(MASKED_TYPES)}.'
            )
        if position_BL is not None:
            position_BL = position_BL + self._first_position()
        # The parts are called one by one: transformers 4 refuses four dimensions at the front door, 5 three.
        embedded_BLC = self.model.embeddings(input_ids=ids_BL, position_ids=position_BL)
        extra = {}
        if 'head_mask' in inspect.signature(self.model.encoder.forward).parameters:
            extra = {'head_mask': [None] * self.model.config.num_hidden_layers}
        return self.model.encoder(embedded_BLC, attention_mask=mask_B1LL, return_dict=True, **extra).last_hidden_state

    def sentence(self, states: tuple[Any, Tensor], ids_BL: Tensor) -> Tensor:
        """As `TextCore.sentence`."""
        output, real_BL = states
        if self.pooling == 'pooler':
            pooled_BC = output.pooler_output
        elif self.pooling == 'cls':
            pooled_BC = output.last_hidden_state[:, 0]
        else:
            real_BL1 = real_BL[..., None].to(output.last_hidden_state.dtype)
            pooled_BC = (output.last_hidden_state * real_BL1).sum(1) / real_BL1.sum(1)
        return nn.functional.normalize(pooled_BC, dim=-1) if self.unit_length else pooled_BC

    def token_vectors(self, states: tuple[Any, Tensor]) -> Tensor:
        """As `TextCore.token_vectors`: the last states."""
        return states[0].last_hidden_state

    def _first_position(self) -> int:
        """RoBERTa and its kin count positions from after the padding index."""
        table = self.model.embeddings.position_embeddings
        return 0 if table.padding_idx is None else int(table.padding_idx) + 1


@MODELS.register_module()
class HFTextModel(TextTower):
    """A Hugging Face text model trainable.

    Works with transformers 4.57 and 5. A folder of sentence-transformers (``modules.json``) says itself how it pools,
    how long a text may be and whether it normalises; what is given here comes first.

    Args:
        model: Folder, or name of a repository, as `vlm_dense.checkpoints.find_weights` takes it.
        pooling: 'mean', 'cls' or 'pooler'; None takes what the folder says, or else 'mean'.
        max_tokens: The longest text; None takes what folder, tokenizer and positions allow.
        attention: transformers' implementation, 'sdpa' or 'eager'; None leaves the choice to it.

    Raises:
        MissingFileError: If the model is not on this machine.
        CheckpointError: If its files cannot be read.
        ConfigError: If a setting is unknown or the model cannot do what it asks.
    """

    core: HFTextCore

    def __init__(
        self,
        model: str | Path,
        pooling: str | None = None,
        max_tokens: int | None = None,
        attention: str | None = None,
    ) -> None:
        check_attention(attention)
        settings = read_sentence_settings(find_hf_folder(model))
        core = HFTextCore(
            load_hf_model(settings.folder, attention), sentence_pooling(settings, pooling), settings.unit_length
        )
        super().__init__(core, load_hf_tokenizer(settings, max_tokens))
        self._settings = settings

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files it started from, and its settings."""
        return hf_fingerprint(self._settings, self.core.pooling, self.max_tokens)

    def token_states(
        self, ids_BL: Tensor, mask_B1LL: Tensor | None = None, position_BL: Tensor | None = None
    ) -> Tensor:
        """Last hidden states of all tokens, padding included.

        Args:
            ids_BL: Token ids, padded with the tokenizer's padding id.
            mask_B1LL: Additive float mask, as `block_mask` makes; None sees every real token.
            position_BL: Positions that count from 0, such as `restarted_positions`; None counts through. Only with a
                mask.

        Returns:
            (B, L, C).

        Raises:
            ConfigError: If the mask has another layout or type, or the model type knows no such masks.
        """
        if mask_B1LL is not None:
            check_additive_mask(mask_B1LL, *ids_BL.shape)
            return self.core.masked_states(ids_BL, mask_B1LL, position_BL)
        if position_BL is not None:
            raise ConfigError('positions of your own need a mask. Give mask_B1LL too, such as block_mask(block_BL).')
        return self.core.token_vectors(self.core.states(ids_BL, self.core.embed(ids_BL)))


def sentence_pooling(settings: SentenceSettings, asked: str | None) -> str:
    """The pooling that was asked for, or the folder's, or 'mean'."""
    return asked or settings.pooling or 'mean'


def hf_fingerprint(settings: SentenceSettings, pooling: str, max_tokens: int) -> str:
    """Names files and settings."""
    ending = f'{pooling}:{max_tokens}:{settings.lower_case}:{settings.unit_length}'
    return f'hf:{folder_fingerprint(settings.folder)}:{ending}'


def check_attention(attention: str | None) -> None:
    """Refuse an attention implementation that is none of `ATTENTIONS`."""
    if attention not in (None, *ATTENTIONS):
        raise ConfigError(f"attention='{attention}': write {' or '.join(repr(name) for name in ATTENTIONS)}.")


def load_hf_model(folder: Path, attention: str | None = None, weights: bool = True, **options: Any) -> Any:
    """Read a model in float32 on the CPU, in eval mode.

    Args:
        folder: Its files.
        attention: One of `ATTENTIONS`, or None.
        weights: Whether its weights are read; without, they are random and ``config.json`` is enough.
        options: Arguments of the model's own class.

    Raises:
        CheckpointError: If the files do not make a model.
        ConfigError: If the model knows no such attention.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    settings = dict(dtype=torch.float32, attn_implementation=attention, **options)
    try:
        with offline(), _silent():
            if weights:
                model, told = AutoModel.from_pretrained(
                    folder, local_files_only=True, output_loading_info=True, **settings
                )
                _check_missing(model, told['missing_keys'], folder)
            else:
                config = AutoConfig.from_pretrained(folder, local_files_only=True)
                model = AutoModel.from_config(config, **settings)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{folder}' does not load as a text model: {error}") from error
    except ValueError as error:
        if 'attention' in str(error):
            raise ConfigError(f"'{folder}' does not run with attention='{attention}'. Take 'eager'.") from error
        raise CheckpointError(f"'{folder}' does not load as a text model: {error}") from error
    return model.eval()


def load_hf_tokenizer(settings: SentenceSettings, max_tokens: int | None = None) -> HubTokenizer:
    """Read a tokenizer and find the longest text that both it and the model read.

    Raises:
        MissingFileError: If the folder holds no tokenizer.
        ConfigError: If more tokens are asked for than the model has positions.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        with offline():
            tokenizer = AutoTokenizer.from_pretrained(settings.folder, local_files_only=True)
            config = AutoConfig.from_pretrained(settings.folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MissingFileError(
            f"'{settings.folder}' holds no tokenizer or configuration that transformers can read: {error}"
        ) from error
    positions = getattr(config, 'max_position_embeddings', UNBOUNDED)
    if config.model_type in MASKED_TYPES and config.model_type != 'bert':
        positions -= 2  # RoBERTa and its kin leave the first two unused
    if max_tokens is not None and max_tokens > positions:
        raise ConfigError(f"max_tokens={max_tokens}, but the model in '{settings.folder}' reads {positions}.")
    limit = max_tokens or min(settings.max_tokens or UNBOUNDED, tokenizer.model_max_length, positions)
    return HubTokenizer(tokenizer, limit, str.lower if settings.lower_case else None)


def _check_missing(model: Any, missing: Iterable[str], folder: Path) -> None:
    """Refuse files that leave weights at random; a pooler that they lack is taken out of the model."""
    names = sorted(missing)
    if lacking := [name for name in names if not name.startswith('pooler.')]:
        raise CheckpointError(f"'{folder}' lacks the weights {some(lacking)}. Copy the model's folder again.")
    if names:
        model.pooler = None


@contextmanager
def _silent() -> Iterator[None]:
    """Without progress bars and lists of weights: heads that a file has besides are nobody's concern here."""
    from transformers.utils import logging

    enabled, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if enabled:
            logging.enable_progress_bar()
