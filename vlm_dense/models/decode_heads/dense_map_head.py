"""Labels straight from a dense map that is comparable with words: no parameter, nothing to train.

Shapes: B pictures, D embedding width, K words of the request, S rows of text (all names of the words, then the
background's), h w cells, H W pixels.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.background_decision import BackgroundDecision
from vlm_dense.models.decode_heads.pixels import Pixels
from vlm_dense.models.decode_heads.refinements import (
    KeysOver,
    Weights,
    drop_absent,
    smooth_by_keys,
    suppress_small,
)
from vlm_dense.models.decode_heads.request_head import RequestHead
from vlm_dense.models.decode_heads.row_maps import GridMaps
from vlm_dense.registry import MODELS
from vlm_dense.text.averaging import max_over_synonyms
from vlm_dense.text.bank import TextBank
from vlm_dense.text.vocabulary import Vocabulary, normalise_word


@MODELS.register_module()
class DenseMapHead(RequestHead):
    """Cosine of cells and words times a scale, refined, resized; softmax and labels at every pixel.

    Takes the maps of `DenseBackbone`: the embeddings, and for smoothing the keys (without them the embeddings are their
    own keys). The softmax goes over all names and background words, after windows were averaged and the picture has
    its original size (SCLIP, arXiv:2312.01597); a word scores as its best name does. With ``smooth`` the softmax comes
    before the smoothing instead, cell by cell. Refinements look at the whole input: leave out padding.

    The softmax compares words with each other. With a single word and no background words it is 1 everywhere, so that
    no threshold makes a pixel background.

    Args:
        logit_scale: Multiplies the cosine.
        synonyms: 'ignore' asks for one row per word, as the bank makes it; 'max' for one per name.
        denoise: Threshold of `drop_absent`; None leaves it out.
        smooth: Threshold of `smooth_by_keys`; None leaves it out.
        keys_over: As in `smooth_by_keys`.
        smooth_weights: ``weights`` of `smooth_by_keys`.
        background_words: The background is their union; those that the request asks for are left out.
        prob_threshold: Where no word scores as much, the pixel is background.
        area_threshold: ``share`` of `suppress_small`; None leaves it out.
        align_corners: For all resizing.
        init_cfg: mmengine's initialisation settings.

    Raises:
        ConfigError: If the area is limited without a background.
    """

    def __init__(
        self,
        logit_scale: float,
        synonyms: Literal['ignore', 'max'] = 'ignore',
        denoise: float | None = None,
        smooth: float | None = None,
        keys_over: KeysOver = 'channels',
        smooth_weights: Weights = 'cosine',
        background_words: Sequence[str] = (),
        prob_threshold: float | None = None,
        area_threshold: float | None = None,
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(align_corners, init_cfg)
        for name, value, known in (
            ('synonyms', synonyms, ('ignore', 'max')),
            ('keys_over', keys_over, ('channels', 'cells')),
            ('smooth_weights', smooth_weights, ('cosine', 'mean')),
        ):
            if value not in known:
                raise ConfigError(f'DenseMapHead: {name}={value!r}; choose {known[0]!r} or {known[1]!r}.')
        self.has_background = bool(background_words) or prob_threshold is not None
        if area_threshold is not None and not self.has_background:
            raise ConfigError('DenseMapHead: area_threshold needs a background; set prob_threshold too.')
        self.logit_scale = logit_scale
        self.synonyms = synonyms
        self.denoise, self.smooth = denoise, smooth
        self.keys_over, self.smooth_weights = keys_over, smooth_weights
        self.background_words = tuple(background_words)
        self.prob_threshold, self.area_threshold = prob_threshold, area_threshold

    def rows(self, bank: TextBank, vocabulary: Vocabulary) -> Tensor:
        """One row per word or per name, then those of the background: (S, D).

        Raises:
            ConfigError: If names are wanted and the bank embeds words only.
        """
        if self.synonyms == 'max' and not hasattr(bank, 'rows_of_names'):
            raise ConfigError(f"{type(bank).__name__} has no rows of names. Set synonyms='ignore' in DenseMapHead.")
        text_SD = bank.rows_of_names(vocabulary)[0] if self.synonyms == 'max' else bank(vocabulary)
        others = self._background_of(vocabulary)
        return torch.cat([text_SD, bank(Vocabulary.from_words(others))]) if others else text_SD

    def embed(self, features: Sequence[Tensor]) -> Pixels:
        """The dense map itself."""
        return Pixels(features[0])

    def forward(self, features: Sequence[Tensor], text_SD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """Logits of all rows at every cell, (B, S, h, w); smoothed probabilities with ``smooth``.

        Raises:
            ConfigError: If map and text differ in width.
        """
        dense_BDhw = functional.normalize(features[0], dim=1)
        text_SD = text_SD.to(dense_BDhw)
        if dense_BDhw.shape[1] != text_SD.shape[1]:
            raise ConfigError(
                f'the dense map has {dense_BDhw.shape[1]} channels and words {text_SD.shape[1]}; '
                'take the tower and the text bank from the same model.'
            )
        logits_BShw = functional.conv2d(dense_BDhw, text_SD[:, :, None, None]) * self.logit_scale
        if self.denoise is not None:
            logits_BShw = drop_absent(logits_BShw, self.denoise)
        if self.smooth is None:
            return logits_BShw
        keys_BChw, prob_BShw = features[-1], logits_BShw.softmax(dim=1)
        return smooth_by_keys(prob_BShw, keys_BChw, self.smooth, self.keys_over, self.smooth_weights)

    def row_maps(self, features: Sequence[Tensor], text_SD: Tensor, is_base_K: Tensor | None = None) -> GridMaps:
        """As `forward`."""
        return GridMaps(self(features, text_SD), self.resize)

    def labels(self, parts: Iterable[tuple[int, Tensor]], vocabulary: Vocabulary) -> Tensor:
        """The label of every pixel of one picture.

        Args:
            parts: First row and logits (s, H, W) of all rows, a few at a time; gone through twice with
                ``area_threshold``.
            vocabulary: The K words.

        Returns:
            (H, W) int64, K for the background. The argmax of `scores`, but words are compared by their logits, where
            the softmax does not round them to the same number.
        """
        word_of_S = self._words_of_rows(vocabulary)
        decision = BackgroundDecision(word_of_S, len(vocabulary), self.smooth is not None, self.prob_threshold)
        decision.see(parts)
        if self.area_threshold is not None:
            decision.silence_small(parts, self.area_threshold)
        return decision.labels() if self.has_background else decision.words()

    def scores(self, logits_SHW: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Scores of one picture, all at once.

        Args:
            logits_SHW: All that `labels` gets.
            vocabulary: The K words.

        Returns:
            (K, H, W), or (K + 1, H, W) with the background's last.
        """
        scores_SHW = logits_SHW if self.smooth is not None else logits_SHW.softmax(dim=0)
        scores_KHW = self._best_names(scores_SHW, vocabulary)
        return self._with_background(scores_KHW, len(vocabulary)) if self.has_background else scores_KHW

    def loss(self, *args: object, **kwargs: object) -> dict[str, Tensor]:
        """Refuse to be trained.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError('DenseMapHead has no parameter to train; take another decode head, or only test.')

    def _background_of(self, vocabulary: Vocabulary) -> list[str]:
        asked = {normalise_word(name) for row in range(len(vocabulary)) for name in vocabulary.names(row)}
        return [word for word in self.background_words if normalise_word(word) not in asked]

    def _words_of_rows(self, vocabulary: Vocabulary) -> Tensor:
        """(S,) the word of every row, in their order; K for the background's."""
        words = len(vocabulary)
        names = [len(vocabulary.names(row)) if self.synonyms == 'max' else 1 for row in range(words)]
        names.append(len(self._background_of(vocabulary)))
        return torch.repeat_interleave(torch.tensor(names))

    def _best_names(self, scores_SHW: Tensor, vocabulary: Vocabulary) -> Tensor:
        """(K, H, W), or (K + 1, H, W) where there are background words."""
        word_of_S = self._words_of_rows(vocabulary)
        columns = int(word_of_S[-1]) + 1
        return scores_SHW if columns == len(word_of_S) else max_over_synonyms(scores_SHW, word_of_S, columns, dim=0)

    def _with_background(self, scores_KHW: Tensor, words: int) -> Tensor:
        words_KHW, background_1HW = scores_KHW[:words], scores_KHW[words:]
        if not len(background_1HW):
            background_1HW = torch.zeros_like(words_KHW[:1])
        if self.area_threshold is not None:
            words_KHW = suppress_small(words_KHW, background_1HW, self.area_threshold)
        if self.prob_threshold is not None:
            background_1HW = background_1HW.clamp(min=self.prob_threshold)
        return torch.cat([words_KHW, background_1HW])
