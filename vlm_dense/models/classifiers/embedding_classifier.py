"""Scores of embeddings against words: cosine similarity divided by a temperature.

Shapes: N regions, K words, D embedding width, B images, h w cells. The words arrive with the call, so
nothing here depends on K.

Source: ViLD (arXiv:2104.13921), Sec. 3.2: temperature 0.01, a learned background embedding, and, in the
released TPU code, logits of words without boxes multiplied by zero while training (so their
similarity counts as 0; they are not removed from the softmax).
"""

from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.losses.logit_scale import LogitScale
from vlm_dense.registry import MODELS
from vlm_dense.text.extra_rows import ExtraRows

Row = Literal['learned', 'learned_raw', 'zero'] | dict


@MODELS.register_module()
class EmbeddingClassifier(BaseModule):
    """Cosine classifier whose weights are the word embeddings of the request.

    Args:
        embed_dim: Width D of region and word embeddings.
        temperature: Divides the cosine, greater than 0.
        background: Column behind the words: None (absent), or what its row is: 'learned', 'zero' (logit 0) or
            ``dict(text=..., bank=...)``; see `vlm_dense.text.extra_rows.ExtraRows`.
        normalize: Bring region embeddings to unit length before the product.
        novel: What training does with the logits of words whose ``is_base`` is False: 'keep' them, or
            multiply them by zero ('zero_logit').
        learn_temperature: Multiply the temperature by a learned factor, 1 at the start (F-VLM, arXiv:2209.15639).
        void: One more column behind the background: what no segment is. Its row is one of those of ``background``, or
            'learned_raw', not brought to unit length (ZegFormer, arXiv:2112.07910).
        learn_scale: Instead of dividing by the temperature, multiply by the exponential of a learned number, which is
            1 / temperature at the start and 100 at most (FC-CLIP, arXiv:2308.02487, temperature 0.07).

    Raises:
        ConfigError: If a setting is none of its values, or temperature and scale are both learned.
    """

    def __init__(
        self,
        embed_dim: int,
        temperature: float = 0.01,
        background: Row | None = 'learned',
        normalize: bool = True,
        novel: Literal['keep', 'zero_logit'] = 'keep',
        learn_temperature: bool = False,
        void: Row | None = None,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f'EmbeddingClassifier: temperature is {temperature}; it divides: give a number above 0.')
        if novel not in ('keep', 'zero_logit'):
            raise ConfigError(f"EmbeddingClassifier: novel={novel!r}; choose 'keep' or 'zero_logit'.")
        if learn_temperature and learn_scale:
            raise ConfigError('EmbeddingClassifier: learn_temperature and learn_scale learn the same; set one of them.')
        self.embed_dim = embed_dim
        self.temperature = temperature
        self.temperature_factor = nn.Parameter(torch.ones(())) if learn_temperature else None
        self.background = background
        self.normalize = normalize
        self.novel = novel
        self.scale = LogitScale(1 / temperature) if learn_scale else None
        self.void = void
        rows = {name: row for name, row in (('background', background), ('void', void)) if row is not None}
        self.extra = ExtraRows(embed_dim, rows) if rows else None

    words_apart = True  # The logit of a word depends on no other word.

    @property
    def has_background(self) -> bool:
        """Whether the column behind the words is the background."""
        return self.background is not None

    @property
    def has_void(self) -> bool:
        """Whether the last column is the void."""
        return self.void is not None

    def forward(self, region_ND: Tensor, text_KD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """Logits of regions, or of every cell of a dense map.

        Args:
            region_ND: Embeddings (N, D), or a map (B, D, h, w).
            text_KD: Word embeddings with unit rows, any device.
            is_base_K: Boolean (K,); needed in training when ``novel='zero_logit'``.

        Returns:
            (N, K) or (B, K, h, w); where there are a background and a void, each adds a column, in this order.

        Raises:
            ConfigError: If the widths differ, or ``is_base_K`` is needed and absent.
        """
        text_KD = text_KD.to(region_ND)
        if region_ND.shape[1] != text_KD.shape[1]:
            raise ConfigError(
                f'regions have {region_ND.shape[1]} channels and words {text_KD.shape[1]}; '
                'set embed_dim of the head to the width of the text bank.'
            )
        if self.normalize:
            region_ND = functional.normalize(region_ND, dim=1)
        logits_NK = self._similarity(region_ND, text_KD) / self._divisor()
        if self.training and self.novel == 'zero_logit':
            logits_NK = self._silence_novel(logits_NK, is_base_K)
        if self.extra is None:
            return logits_NK
        extra_NE = self._similarity(region_ND, self.extra.rows().to(region_ND)) / self._divisor()
        return torch.cat([logits_NK, extra_NE], dim=1)

    def _divisor(self) -> float | Tensor:
        if self.scale is not None:
            return 1 / self.scale()
        return self.temperature if self.temperature_factor is None else self.temperature * self.temperature_factor

    @staticmethod
    def _similarity(region_ND: Tensor, text_KD: Tensor) -> Tensor:
        if region_ND.dim() == 4:
            return functional.conv2d(region_ND, text_KD[:, :, None, None])
        return region_ND @ text_KD.t()

    @staticmethod
    def _silence_novel(logits_NK: Tensor, is_base_K: Tensor | None) -> Tensor:
        if is_base_K is None:
            raise ConfigError("novel='zero_logit' needs to know which words are base; pass is_base_K.")
        keep_K = is_base_K.to(logits_NK)
        return logits_NK * keep_K.view(1, -1, *[1] * (logits_NK.dim() - 2))
