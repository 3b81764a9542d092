"""The text half of any open_clip model, as a module."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.checkpoints.finding import search
from vlm_dense.checkpoints.hub import HubFolder
from vlm_dense.checkpoints.open_clip_models import OpenClipSource, find_open_clip, load_open_clip
from vlm_dense.checkpoints.switches import offline
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.tokens import ClipTokenizer, HubTokenizer, TextTokenizer
from vlm_dense.text.encoders.tower import TextCore, TextTower


class ClipTextCore(TextCore):
    """open_clip's own text transformer: CLIP, EVA, MobileCLIP, SigLIP, CLIPA, CoCa.

    Its modules keep open_clip's names. A causal tower reads at the end token, which sees nothing after it: padding is
    left out. CoCa appends its own token, in the last position of the context, and by a slip that its weights were
    trained with this token also sees the first padded place (open_clip's ``correct_cls_mask`` is off), so one stays.

    Args:
        model: What open_clip builds: ``CLIP``, or a model whose ``text`` is a ``TextTransformer``.
    """

    attn_mask: Tensor | None

    def __init__(self, model: Any) -> None:
        super().__init__()
        text = getattr(model, 'text', model)
        self.token_embedding = text.token_embedding
        self.positional_embedding = text.positional_embedding
        self.transformer = text.transformer
        self.ln_final = text.ln_final
        self.text_projection = text.text_projection
        self.cls_emb = getattr(text, 'cls_emb', None)
        self.register_buffer('attn_mask', text.attn_mask, persistent=False)
        self._pool = text.pool_type if text is not model else model.text_pool_type
        self._end_id: Any = getattr(
            text, 'eos_id' if text is not model else 'text_eos_id', None
        )  # open_clip 3.0 has none
        self._pad_id = getattr(text, 'pad_id', 0)
        self._heads = getattr(text, 'heads', 1)
        self._sees_first_padding = not getattr(text, 'correct_cls_mask', False)
        self.width = int(self.token_embedding.embedding_dim)
        self.embed_dim = _projected_width(self.text_projection, self.width)
        self.trims = self.attn_mask is not None and (
            self.cls_emb is not None or self._pool in ('argmax', 'eos', 'first')
        )
        self.kept_padding = 0 if self.cls_emb is None else 1
        if self._pool == 'none':
            raise ConfigError(f"{type(model).__name__} has pool_type 'none', so it gives no sentence vector.")

    def embed(self, ids_BL: Tensor) -> Tensor:
        """As `TextCore.embed`."""
        return self.token_embedding(ids_BL)

    def states(self, ids_BL: Tensor, embedded_BLC: Tensor) -> Tensor:
        """(B, L, C) after the last residual block; CoCa's own token is appended."""
        positions_LC = self.positional_embedding[: ids_BL.shape[1]]
        if self.cls_emb is not None:
            embedded_BLC = torch.cat([embedded_BLC, self.cls_emb.expand(len(ids_BL), 1, -1)], dim=1)
            positions_LC = torch.cat([positions_LC, self.positional_embedding[-1:]])
        return self.transformer(embedded_BLC + positions_LC, attn_mask=self._mask(ids_BL, embedded_BLC.shape[1]))

    def sentence(self, states: Tensor, ids_BL: Tensor) -> Tensor:
        """As `TextCore.sentence`."""
        return self._project(self.ln_final(self.last_block(states, ids_BL)))

    def token_vectors(self, states: Tensor) -> Tensor:
        """As `TextCore.token_vectors`: each token through final norm and projection, as the end token is."""
        tokens_BLC = states if self.cls_emb is None else states[:, :-1]
        return self._project(self.ln_final(tokens_BLC))

    def last_block(self, states: Tensor, ids_BL: Tensor) -> Tensor:
        """As `TextCore.last_block`."""
        if self.cls_emb is not None or self._pool == 'last':
            return states[:, -1]
        if self._pool == 'first':
            return states[:, 0]
        place_B = ids_BL.argmax(-1) if self._pool == 'argmax' else ids_BL.eq(self._end_id).int().argmax(-1)
        return states[torch.arange(len(states), device=states.device), place_B]

    def _mask(self, ids_BL: Tensor, length: int) -> Tensor | None:
        if self.attn_mask is None:
            return None
        causal_LL = self.attn_mask[:length, :length]
        if self.cls_emb is None:
            return causal_LL
        real_BL = ids_BL != self._pad_id
        own_B1 = real_BL.new_ones(len(real_BL), 1)
        seen_BL = torch.cat([own_B1, real_BL] if self._sees_first_padding else [real_BL, own_B1], dim=1)
        added_B1L = torch.zeros_like(seen_BL, dtype=causal_LL.dtype).masked_fill(~seen_BL, float('-inf'))[:, None]
        return (causal_LL + added_B1L).repeat_interleave(self._heads, dim=0)

    def _project(self, x: Tensor) -> Tensor:
        if self.text_projection is None:
            return x
        return self.text_projection(x) if isinstance(self.text_projection, nn.Linear) else x @ self.text_projection


class HubTextCore(TextCore):
    """A Hugging Face transformer inside an open_clip model: XLM-R, RoBERTa, mT5, NLLB.

    Args:
        text: ``open_clip.hf_model.HFTextEncoder``.
    """

    trims = True

    def __init__(self, text: Any) -> None:
        super().__init__()
        self.text = text
        self.embed_dim = int(text.output_dim)
        self.width = int(text.transformer.get_input_embeddings().embedding_dim)

    def embed(self, ids_BL: Tensor) -> Tensor:
        """As `TextCore.embed`."""
        return self.text.transformer.get_input_embeddings()(ids_BL)

    def states(self, ids_BL: Tensor, embedded_BLC: Tensor) -> tuple[Any, Tensor]:
        """What the transformer gives, and its padding mask."""
        real_BL = (ids_BL != self.text.config.pad_token_id).long()
        return self.text.transformer(inputs_embeds=embedded_BLC, attention_mask=real_BL), real_BL

    def sentence(self, states: tuple[Any, Tensor], ids_BL: Tensor) -> Tensor:
        """As `TextCore.sentence`."""
        output, real_BL = states
        return self.text.proj(self.text.pooler(output, real_BL))

    def token_vectors(self, states: tuple[Any, Tensor]) -> Tensor:
        """As `TextCore.token_vectors`: each token through the projection."""
        return self.text.proj(states[0].last_hidden_state)


@MODELS.register_module()
class OpenClipTextTower(TextTower):
    """The text half of any open_clip model.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint, a tag, or whatever `find_open_clip` takes; None for random weights that are
            the same in every process.
        readout: As in `TextTower`; Hugging Face transformers inside open_clip give 'projected' only.

    Raises:
        ConfigError: If the architecture or the read-out is unknown.
        MissingFileError: If weights or tokenizer are not on this machine.
        CheckpointError: If the weights do not fit.
    """

    def __init__(self, name: str, pretrained: str | None = None, readout: str = 'projected') -> None:
        source = find_open_clip(name, pretrained)
        tokenizer = open_clip_tokenizer(source)
        super().__init__(open_clip_core(load_open_clip(source, 'text')), tokenizer, readout)
        self._source = source
        if readout == 'last_block' and isinstance(self.core, HubTextCore):
            raise ConfigError(
                f"'{source.name}' has no readout 'last_block': its text half is a Hugging Face transformer. "
                "Take readout='projected'."
            )

    @property
    def fingerprint(self) -> str:
        """Architecture, read-out and SHA-256 of the weights that it started from."""
        return readout_fingerprint(self._source, self.readout)


def readout_fingerprint(source: OpenClipSource, readout: str) -> str:
    """Fingerprint of weights and read-out."""
    return source.fingerprint() if readout == 'projected' else f'{source.fingerprint()}:{readout}'


def open_clip_core(model: Any) -> TextCore:
    """The text half of what open_clip built.

    Raises:
        ConfigError: If the text half is neither open_clip's own nor a Hugging Face transformer.
    """
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import TextTransformer

    text = getattr(model, 'text', None)
    if isinstance(text, HFTextEncoder):
        return HubTextCore(text)
    if isinstance(text, TextTransformer) or (text is None and hasattr(model, 'token_embedding')):
        return ClipTextCore(model)
    raise ConfigError(f'{type(model).__name__} has a text half of type {type(text).__name__}, which is not known here.')


def open_clip_tokenizer(source: OpenClipSource) -> TextTokenizer:
    """The tokenizer that an architecture names, from files on this machine.

    Raises:
        ConfigError: If the architecture names none, or one of a kind that is not known here.
        MissingFileError: If it is not in Hugging Face's cache.
    """
    import open_clip

    text_config = source.config['text_cfg']
    hub_name = text_config.get('hf_tokenizer_name')
    if not hub_name and 'siglip' in source.name.lower():
        raise ConfigError(
            f"'{source.name}' names no tokenizer, and open_clip would download one. "
            "Add 'hf_tokenizer_name' to the text_cfg of its config."
        )
    if text_config.get('tokenizer_mode'):
        raise ConfigError(
            f"'{source.name}' sets tokenizer_mode, which open_clip's CLIPS models need and we cannot read."
        )
    if not hub_name:
        return ClipTokenizer(open_clip.get_tokenizer(source.name))
    try:
        with offline():
            made = open_clip.tokenizer.HFTokenizer(
                _tokenizer_folder(hub_name),
                context_length=text_config.get('context_length', open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
                local_files_only=True,
                **text_config.get('tokenizer_kwargs', {}),
            )
    except OSError as error:
        raise MissingFileError(
            f"the tokenizer '{hub_name}' of '{source.name}' is not in Hugging Face's cache. "
            f'Fetch it where there is a network, with: vlm-dense fetch open_clip:{source.name}:TAG'
        ) from error
    return HubTokenizer(made.tokenizer, int(made.context_length), made.clean_fn, made.strip_sep_token)


def _tokenizer_folder(name: str) -> str:
    """The folder of a repository's tokenizer on this machine; the name itself where it is a folder or nowhere."""
    if Path(name).is_dir():
        return name
    places = search((HubFolder(name, with_weights=False),))
    return next((str(place.path) for place in places if place.path), name)


def _projected_width(projection: Any, width: int) -> int:
    if projection is None:
        return width
    return int(projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1])
