"""BERT as a part of a detector: token states for fusion and for scores.

Shapes: B texts, L tokens, C width, K words of one prompt.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.models.grounding import PromptTokens, TextTokens
from vlm_dense.models.language.prompt_cache import PromptCache
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.base import check_token_counts
from vlm_dense.text.encoders.hf_folder import SentenceSettings, find_hf_folder, weight_files
from vlm_dense.text.encoders.hf_model import check_attention, load_hf_model, load_hf_tokenizer
from vlm_dense.text.encoders.tokens import Tokens
from vlm_dense.text.prompt_packing import Prompt
from vlm_dense.text.token_maps import word_tokens

LEFT_OVER = 'language_backbone.body.model.embeddings.position_ids'  # a counting buffer that transformers once saved


class TransformerStates(nn.Module):
    """The states of a text transformer that GLIP reads (arXiv:2112.03857, section 3.2, as released).

    Args:
        model: transformers' encoder, without pooler.
        averaged_layers: Of how many last layers ``embedded`` is the mean. As in the release and in mmdet the mean is
            then divided by this number once more; with 1 it is the last state.
    """

    def __init__(self, model: Any, averaged_layers: int = 1) -> None:
        super().__init__()
        self.model = model
        self.averaged_layers = averaged_layers

    def forward(self, ids_BL: Tensor, is_token_BL: Tensor) -> TextTokens:
        """States of padded token ids."""
        several = self.averaged_layers > 1
        found = self.model(input_ids=ids_BL, attention_mask=is_token_BL.long(), output_hidden_states=several)
        hidden_BLC = found.last_hidden_state
        embedded_BLC = hidden_BLC
        if several:
            layers = found.hidden_states[-self.averaged_layers :]
            embedded_BLC = torch.stack(layers).mean(0) / self.averaged_layers
        return TextTokens(hidden_BLC, embedded_BLC * is_token_BL[..., None].to(hidden_BLC.dtype), is_token_BL)


@MODELS.register_module()
class TokenLanguageModel(BaseModule):
    """A BERT that trains with its detector; its weights have the names of mmdet's ``BertModel``.

    Works with transformers 4.57 and 5. Texts are read as wide as the longest of them: padding up to the window, as
    mmdet does, changes nothing.

    Args:
        model: Folder, or name of a repository on this machine, as `vlm_dense.checkpoints.find_weights` takes it.
        pretrained: Whether its weights are read. With False they start at random, and ``config.json`` with a
            tokenizer's files is enough: for checkpoints that bring the text weights, as those of GLIP do.
        max_tokens: The longest text, special tokens included.
        averaged_layers: As in `TransformerStates`; mmdet's ``num_layers_of_embedded``.
        frozen: Take no gradient and stay in eval mode. The weights stay in the checkpoint.
        checkpointing: Compute the layers' insides again in the backward pass instead of keeping them.
        attention: transformers' implementation, 'sdpa' or 'eager'; None leaves the choice to it.
        cached_prompts: How many prompts keep their states in eval mode.
        init_cfg: As everywhere in mmengine.

    Raises:
        MissingFileError: If the model is not on this machine, or its folder holds no weights and they are wanted.
        CheckpointError: If its files cannot be read.
        ConfigError: If a setting has no meaning.
    """

    def __init__(
        self,
        model: str | Path,
        pretrained: bool = True,
        max_tokens: int = 256,
        averaged_layers: int = 1,
        frozen: bool = False,
        checkpointing: bool = False,
        attention: str | None = None,
        cached_prompts: int = 256,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        check_attention(attention)
        folder = find_hf_folder(model)
        if pretrained and not weight_files(folder):
            raise MissingFileError(
                f"there are no weights in '{folder}'. Put model.safetensors there, or set language_model.pretrained="
                'False where a checkpoint brings them.'
            )
        # The folder's own sentence settings are for sentence vectors, which nobody reads here.
        self.tokenizer = load_hf_tokenizer(SentenceSettings(folder), max_tokens)
        bert = load_hf_model(folder, attention, pretrained, add_pooling_layer=False)
        if not 1 <= averaged_layers <= bert.config.num_hidden_layers:
            raise ConfigError(
                f"averaged_layers={averaged_layers}, but the model in '{folder}' has "
                f'{bert.config.num_hidden_layers} layers. Take one of these numbers.'
            )
        if checkpointing:
            # transformers 5 has another name for it.
            name = 'activation_checkpointing_enable'
            getattr(bert, name, bert.gradient_checkpointing_enable)(dict(use_reentrant=False))
        self.language_backbone = nn.Sequential(OrderedDict(body=TransformerStates(bert, averaged_layers)))
        self.frozen = frozen
        self.requires_grad_(not frozen)
        self.width = int(bert.config.hidden_size)
        self._cache = PromptCache(cached_prompts)
        self.register_load_state_dict_pre_hook(_without_left_over)

    @property
    def max_tokens(self) -> int:
        """The longest text in tokens, special tokens included."""
        return self.tokenizer.max_tokens

    @property
    def word_embedding(self) -> nn.Embedding:
        """The embeddings of the tokens, one for every entry of the tokenizer's vocabulary."""
        states: Any = self.language_backbone.body
        return states.model.get_input_embeddings()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included and nothing cut."""
        return [len(row) for row in self.tokenizer.ids(texts)]

    def tokens(self, prompt: Prompt) -> tuple[Tokens, Tensor]:
        """The L tokens of a prompt, and (K, L) boolean which of them stand for each of its words.

        Raises:
            VocabularyError: If the prompt is too long, or a word has no token.
        """
        found = self.tokenizer.tokens(prompt.text)
        check_token_counts([prompt.text], [len(found.ids)], self.max_tokens)
        return found, word_tokens(prompt, found)

    def pad(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Token ids of B texts to (B, L), as wide as the longest, on the device of the weights."""
        ids_BL = torch.full((len(rows), max(map(len, rows))), self.tokenizer.pad_id, dtype=torch.long)
        for padded_L, row in zip(ids_BL, rows, strict=True):
            padded_L[: len(row)] = torch.tensor(row)
        return ids_BL.to(next(self.parameters()).device)

    def forward(self, ids_BL: Tensor) -> TextTokens:
        """States of B texts, padded with the tokenizer's padding id at their ends; cut to the longest."""
        is_token_BL = ids_BL != self.tokenizer.pad_id
        longest = int(is_token_BL.sum(1).max())
        states: Any = self.language_backbone.body
        return states(ids_BL[:, :longest], is_token_BL[:, :longest])

    def encode(self, prompts: Sequence[Prompt]) -> list[PromptTokens]:
        """Prompts as detectors ask for them when testing, each read alone.

        In eval mode without gradients every prompt is read once, until the weights change.

        Raises:
            VocabularyError: As `tokens`.
        """
        if self.training or torch.is_grad_enabled():
            return [self._encode(prompt) for prompt in prompts]
        return self._cache.get(prompts, self._encode, list(self.parameters()))

    def _encode(self, prompt: Prompt) -> PromptTokens:
        tokens, is_word_KL = self.tokens(prompt)
        text = self(self.pad([tokens.ids]))
        map_KL = is_word_KL.float().to(text.hidden_BLC.device)
        rows_K = torch.tensor(prompt.rows, device=text.hidden_BLC.device)
        return PromptTokens(text, map_KL / map_KL.sum(1, keepdim=True), rows_K)

    def train(self, mode: bool = True) -> 'TokenLanguageModel':
        """Change mode and forget the prompts; frozen weights stay in eval mode."""
        self._cache.clear()
        return super().train(mode and not self.frozen)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._cache.clear()
        return super()._apply(*args, **kwargs)


def _without_left_over(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Forget what belongs to the weights no more, and take out what they never needed."""
    module._cache.clear()  # type: ignore[union-attr,operator]
    if prefix + LEFT_OVER not in module.state_dict(prefix=prefix):
        state_dict.pop(prefix + LEFT_OVER, None)
