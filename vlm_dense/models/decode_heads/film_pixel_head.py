"""A transformer decoder that is told one word at a time and answers with a binary map.

Source: CLIPSeg (arXiv:2112.10003), Sec. 3, with FiLM (arXiv:1709.07871).

Shapes: B images, C width of the tapped transformer, R width of the decoder, D width of the words, K words, P pairs of
a picture and a word, L = 1 + h w tokens.
"""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.request_head import RequestHead
from vlm_dense.models.decode_heads.row_maps import RowMaps, resize_rows
from vlm_dense.registry import MODELS

PAIRS_AT_ONCE = 64  # a quarter of a GiB on 22 x 22 cells


@MODELS.register_module()
class FilmPixelHead(RequestHead):
    """Tapped tokens, modulated by one word, to the log-odds of that word at every pixel.

    From the deepest tap to the shallowest, tokens are reduced to R numbers, added to what came so far, and go through
    a transformer layer. The word scales and shifts them once, after the first reduction (FiLM). What precedes it is
    done once per picture; the rest runs for every word, for a bounded number of pairs at a time.

    A word is whatever vector comes as its row: a text embedding, or that of a picture in the same space. The published
    decoder was trained on rows that are not normalised.

    Args:
        in_channels: Width C of the tapped transformer.
        embed_dim: Width D of the words.
        taps: Number of taps.
        channels: Width R of the decoder.
        num_heads: Heads of its attention.
        feedforward: Width of its hidden layers.
        dropout: Of its layers.
        patch_size: Patch of the tapped transformer in pixels; the answer has its pictures' resolution.
        refined: Enlarge by a convolution and two transposed ones in place of a single one.
        threshold: Adds a background in the last column, which wins where the probability of every word is below.
            None: no background.
        pairs_at_once: How many pairs of picture and word are decoded together; changes memory, not results.
        init_cfg: mmengine's initialisation settings.

    Raises:
        ConfigError: If the threshold is no probability, or the refined enlargement does not fit the patch.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        taps: int = 3,
        channels: int = 64,
        num_heads: int = 4,
        feedforward: int = 2048,
        dropout: float = 0.1,
        patch_size: int = 16,
        refined: bool = False,
        threshold: float | None = None,
        pairs_at_once: int = PAIRS_AT_ONCE,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if threshold is not None and not 0 < threshold < 1:
            raise ConfigError(f'FilmPixelHead: threshold={threshold}; give a probability between 0 and 1, or None.')
        if pairs_at_once < 1:
            raise ConfigError(f'FilmPixelHead: pairs_at_once={pairs_at_once}; give a positive number.')
        self.film_mul = nn.Linear(embed_dim, channels)
        self.film_add = nn.Linear(embed_dim, channels)
        self.reduces = nn.ModuleList(nn.Linear(in_channels, channels) for _ in range(taps))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, num_heads, feedforward, dropout, batch_first=True) for _ in range(taps)
        )
        self.enlarge = _refined(channels, patch_size) if refined else _plain(channels, patch_size)
        self.threshold = threshold
        self.pairs_at_once = pairs_at_once

    def forward(self, features: Sequence, text_KD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """Log-odds of every word at every pixel.

        Args:
            features: Per tap, shallowest first, a pair (map (B, C, h, w), class token (B, C)), as mmseg's
                ``VisionTransformer(output_cls_token=True)`` and ``TowerBackbone(class_token=True)`` give them.
            text_KD: One row per word.
            is_base_K: Not read; other heads treat seen words apart.

        Returns:
            (B, K, H, W), or (B, K + 1, H, W) with the background; H and W are h and w times the patch.
        """
        reduced, grid = self.reduce(features)
        batch, words = len(reduced[0]), len(text_KD)
        pairs_P = torch.arange(batch * words, device=text_KD.device)
        maps = [
            self.decode([tokens_BLR[part // words] for tokens_BLR in reduced], text_KD[part % words], grid)
            for part in pairs_P.split(self.pairs_at_once)
        ]
        logits_BKHW = torch.cat(maps).unflatten(0, (batch, words))
        if self.threshold is None:
            return logits_BKHW
        return functional.pad(logits_BKHW, (0, 0, 0, 0, 0, 1), value=log_odds(self.threshold))

    def row_maps(self, features: Sequence, text_SD: Tensor, is_base_K: Tensor | None = None) -> RowMaps:
        """Log-odds that are decoded when they are asked for, and where there is a threshold, the background's."""
        reduced, grid = self.reduce(features)
        return DecodedMaps(self, reduced, text_SD, grid)

    def reduce(self, features: Sequence) -> tuple[list[Tensor], tuple[int, int]]:
        """The part that needs no word: reduced tokens (B, L, R) per tap, deepest first, and the grid (h, w).

        Raises:
            ConfigError: If there are more or fewer taps than the head was built for.
        """
        if len(features) != len(self.reduces):
            raise ConfigError(
                f'FilmPixelHead was built for {len(self.reduces)} taps and the backbone gives {len(features)}; make '
                'out_indices of the backbone and taps of the head agree.'
            )
        reduced = [
            layer(torch.cat([token_BC[:, None], map_BChw.flatten(2).transpose(1, 2)], dim=1))
            for layer, (map_BChw, token_BC) in zip(self.reduces, reversed(features), strict=True)
        ]
        height, width = features[0][0].shape[-2:]
        return reduced, (height, width)

    def decode(self, reduced: Sequence[Tensor], word_PD: Tensor, grid: tuple[int, int]) -> Tensor:
        """The part that needs a word.

        Args:
            reduced: Of each pair's picture, or of the one picture, from `reduce`: (P, L, R) or (1, L, R) per tap,
                deepest first.
            word_PD: Row of each pair's word.
            grid: h and w.

        Returns:
            Log-odds (P, H, W).
        """
        deepest_PLR, *shallower = reduced
        tokens_PLR = self.film_mul(word_PD)[:, None] * deepest_PLR + self.film_add(word_PD)[:, None]
        tokens_PLR = self.blocks[0](tokens_PLR)
        for block, more_PLR in zip(self.blocks[1:], shallower, strict=True):
            tokens_PLR = block(tokens_PLR + more_PLR)
        cells_PRhw = tokens_PLR[:, 1:].transpose(1, 2).unflatten(2, grid)
        return self.enlarge(cells_PRhw)[:, 0]


class DecodedMaps(RowMaps):
    """Maps of a `FilmPixelHead`, made anew whenever they are asked for.

    Args:
        head: Decodes and resizes.
        reduced: Of `FilmPixelHead.reduce`, per tap (B, L, R).
        text_KD: One row per word.
        grid: h and w.
    """

    def __init__(self, head: FilmPixelHead, reduced: Sequence[Tensor], text_KD: Tensor, grid: tuple[int, int]) -> None:
        super().__init__(len(text_KD), head.threshold is not None, text_KD.device)
        self.head, self.reduced, self.text_KD, self.grid = head, reduced, text_KD, grid

    def at(self, picture: int, part: slice, size: Sequence[int]) -> Tensor:
        """As in `RowMaps`."""
        alone = [tokens_BLR[picture : picture + 1] for tokens_BLR in self.reduced]
        maps = [
            self.head.decode(alone, word_PD, self.grid) for word_PD in self.text_KD[part].split(self.head.pairs_at_once)
        ]
        return resize_rows(self.head.resize, torch.cat(maps)[None], size)[0]

    def background(self, picture: int, best_HW: Tensor) -> Tensor:
        """The threshold at every pixel, (H, W)."""
        assert self.head.threshold is not None
        return torch.full_like(best_HW, log_odds(self.head.threshold))


def log_odds(probability: float) -> float:
    """Natural logarithm of p / (1 - p)."""
    return log(probability / (1 - probability))


def _plain(channels: int, patch: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, 1, patch, patch)


def _refined(channels: int, patch: int) -> nn.Module:
    step = round(patch**0.5)
    if step * step != patch:
        raise ConfigError(f'FilmPixelHead: refined=True needs a patch that is a square number, not {patch}.')
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, channels // 2, step, step),
        nn.ReLU(),
        nn.ConvTranspose2d(channels // 2, 1, step, step),
    )
