"""What the mask heads share: mmdet's heads find masks, and each mask gets an embedding instead of class scores.

Shapes: B pictures, N masks of a picture, G segments of a truth, K words, C query width, D width of the words, H W
pixels, h w cells.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from mmengine import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.heads.mask.query_embedding import QueryEmbedding
from vlm_dense.models.heads.mask.segments import Segments
from vlm_dense.models.heads.mask.truths import taught_segments
from vlm_dense.models.heads.mask.word_logits import word_logits
from vlm_dense.models.requests import NameRows, WordRows
from vlm_dense.registry import MODELS

FIXED_CLASSES = ('num_things_classes', 'num_stuff_classes', 'num_classes', 'class_weight')


class MaskTraining(NamedTuple):
    """Losses and matching of a head where a config says nothing."""

    loss_cls: dict
    loss_mask: dict
    loss_dice: dict
    train_cfg: dict


class DecodedMasks(NamedTuple):
    """What mmdet's head computes for L decoder layers.

    Args:
        queries: L tensors (B, N, C) after the last normalisation.
        masks: L tensors (B, N, h, w) of logits.
        features_BPhw: Mask features.
    """

    queries: Sequence[Tensor]
    masks: Sequence[Tensor]
    features_BPhw: Tensor


class WordMasks(BaseModule):
    """Mixin before one of mmdet's mask heads.

    The modules and names in the state dict are mmdet's, but ``cls_embed`` is a `QueryEmbedding`, and there is a
    ``classifier``. No number of classes is kept; mmdet's own matching and losses run with that of the call.

    Args:
        classifier: ``vlm_dense.EmbeddingClassifier`` with a ``void``.
        feat_channels: Width of queries and features, as in mmdet.
        out_channels: Channels of the mask features, as in mmdet.
        pixel_decoder: As in mmdet.
        transformer_decoder: As in mmdet.
        query_embedding: ``num_layers`` of `QueryEmbedding`, and whether it is ``pooled``.
        void_weight: Weight of queries that match no segment in the classification loss; all others have 1.
        loss_cls: As in mmdet, without ``class_weight``; None takes that of the head's paper, and so below.
        loss_mask: As in mmdet.
        loss_dice: As in mmdet.
        train_cfg: Those of mmdet's settings that differ from the paper's.
        kwargs: Other arguments of mmdet's head.

    Raises:
        ConfigError: If the classifier has no void, or class weights are given.
    """

    training_defaults: MaskTraining

    def __init__(
        self,
        classifier: dict,
        feat_channels: int,
        out_channels: int,
        pixel_decoder: Mapping,
        transformer_decoder: Mapping,
        query_embedding: Mapping | None = None,
        void_weight: float = 0.1,
        loss_cls: Mapping | None = None,
        loss_mask: Mapping | None = None,
        loss_dice: Mapping | None = None,
        train_cfg: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        default = self.training_defaults
        if loss_cls is not None and loss_cls.get('class_weight') is not None:
            raise ConfigError('mask head: loss_cls has class_weight, but words come with the call; set void_weight.')
        super().__init__(
            feat_channels=feat_channels,
            out_channels=out_channels,
            pixel_decoder=_own(pixel_decoder),
            transformer_decoder=_own(transformer_decoder),
            loss_cls=_own({**(default.loss_cls if loss_cls is None else loss_cls), 'class_weight': None}),
            loss_mask=_own(default.loss_mask if loss_mask is None else loss_mask),
            loss_dice=_own(default.loss_dice if loss_dice is None else loss_dice),
            train_cfg=_own({**default.train_cfg, **(train_cfg or {})}),
            num_things_classes=0,
            num_stuff_classes=0,
            **kwargs,
        )
        for name in FIXED_CLASSES:
            delattr(self, name)
        self.classifier = MODELS.build(classifier)
        if not getattr(self.classifier, 'has_void', False):
            raise ConfigError("mask head: its classifier has no void; set void='learned' or 'learned_raw' there.")
        self.cls_embed = _embedding(query_embedding, feat_channels, out_channels, self.classifier.embed_dim)
        self.void_weight = void_weight

    @property
    def has_background(self) -> bool:
        """Whether a column for the background stands between the words and the void."""
        return self.classifier.has_background

    def segments(
        self, features: Sequence[Tensor], input_size: Sequence[int], image_sizes: Sequence | None = None
    ) -> Segments:
        """Masks and embeddings of the last decoder layer.

        Args:
            features: Maps of the backbone or neck, from fine to coarse.
            input_size: Height and width of the batch's tensor in pixels.
            image_sizes: Of every picture without its padding; None where there is none.
        """
        decoded = self._decode(features, _metas(len(features[0]), input_size, image_sizes), **self._last_layer())
        mask_BNhw = decoded.masks[-1]
        return Segments(self.cls_embed(decoded.queries[-1], mask_BNhw, decoded.features_BPhw), mask_BNhw)

    def logits(self, embed_BND: Tensor, words: WordRows | NameRows) -> Tensor:
        """Logits (B, N, K + 1), or (B, N, K + 2) with a background behind the words; the void is last.

        In float32 even under autocast.

        Args:
            embed_BND: Of `Segments`.
            words: K words. With a row per name, a word has the logit of its best name.
        """
        return word_logits(self.classifier, embed_BND, words)

    def forward(self, x: Sequence[Tensor], batch_data_samples: Sequence) -> tuple[list[Tensor], list[Tensor]]:
        """As in mmdet, with embeddings (B, N, D) in place of class scores: one per decoder layer, and masks alike.

        Args:
            x: As ``features`` of `segments`.
            batch_data_samples: Each with ``batch_input_shape`` and ``img_shape`` in its metainfo.
        """
        decoded = self._decode(x, [sample.metainfo for sample in batch_data_samples])
        pairs = zip(decoded.queries, decoded.masks, strict=True)
        return [self.cls_embed(*pair, decoded.features_BPhw) for pair in pairs], list(decoded.masks)

    def loss(
        self,
        features: Sequence[Tensor],
        truths: Sequence[InstanceData],
        words: WordRows | NameRows,
        input_size: Sequence[int],
        image_sizes: Sequence | None = None,
    ) -> dict[str, Tensor]:
        """mmdet's losses of all decoder layers, ``loss_cls``, ``loss_mask``, ``loss_dice`` and ``d0.loss_cls`` ...

        Segments of unseen words, and of the background where the classifier has none, belong to no mask.

        Args:
            features: As in `segments`.
            truths: Per picture ``labels`` (G,) and ``masks`` (G, H, W), which cover the batch's tensor.
            words: K words, which the labels index; label K means background.
            input_size: As in `segments`.
            image_sizes: As in `segments`.

        Raises:
            DataError: If a label is neither a word nor the background.
        """
        taught = [taught_segments(truth, words, self.has_background) for truth in truths]
        metas = _metas(len(features[0]), input_size, image_sizes)
        embeds, masks = self(features, [SimpleNamespace(metainfo=meta) for meta in metas])
        view = self._for_words(len(words.is_base_K))
        with torch.autocast(masks[0].device.type, enabled=False):
            logits = [self.logits(embed_BND, words) for embed_BND in embeds]
            return view.loss_by_feat(logits, [mask_BNhw.float() for mask_BNhw in masks], taught, metas)

    def _for_words(self, num_words: int) -> Any:
        """This head as mmdet's losses want it for a number of words: the same parameters, its own settings."""
        view = copy.copy(self)
        view.num_classes = num_words + self.has_background
        view.class_weight = [1.0] * view.num_classes + [self.void_weight]
        return view

    def _get_targets_single(
        self, cls_score: Tensor, mask_pred: Tensor, gt_instances: InstanceData, img_meta: dict
    ) -> tuple:
        labels_N, weight_N, *rest = super()._get_targets_single(cls_score, mask_pred, gt_instances, img_meta)
        return labels_N, cls_score.new_tensor(self.class_weight)[labels_N] * weight_N, *rest

    def _last_layer(self) -> dict[str, Callable]:
        """What stands in for modules where only the last decoder layer's masks are asked for."""
        return {}

    def _decode(self, features: Sequence[Tensor], metas: list[dict], **stand_ins: Callable) -> DecodedMasks:
        """mmdet's forward up to the classes: it leaves the queries as they are, and the mask features are kept."""
        view: Any = copy.copy(self)
        kept: list[tuple] = []

        def pixel_decoder(*inputs: Any) -> tuple:
            kept.append(self.pixel_decoder(*inputs))
            return kept[0]

        # What stands among the attributes of an object hides a module of the same name.
        view.__dict__.update(cls_embed=lambda query: query, pixel_decoder=pixel_decoder, **stand_ins)
        samples = [SimpleNamespace(metainfo=meta) for meta in metas]
        queries, masks = super(WordMasks, view).forward(features, samples)
        return DecodedMasks(queries, masks, kept[0][0])


def _own(config: Mapping) -> ConfigDict:
    """A copy with attributes, as mmdet reads and changes it."""
    return copy.deepcopy(ConfigDict(config))


def _embedding(config: Mapping | None, feat_channels: int, out_channels: int, embed_dim: int) -> QueryEmbedding:
    settings = dict(config or {})
    pooled_channels = out_channels if settings.pop('pooled', False) else None
    unknown = set(settings) - {'num_layers'}
    if unknown:
        raise ConfigError(
            f'mask head: query_embedding has {", ".join(sorted(unknown))}; it takes num_layers and pooled.'
        )
    return QueryEmbedding(feat_channels, embed_dim, pooled_channels=pooled_channels, **settings)


def _metas(num_pictures: int, input_size: Sequence[int], image_sizes: Sequence | None) -> list[dict]:
    """What mmdet's heads read of a picture."""
    sizes = [input_size] * num_pictures if image_sizes is None else image_sizes
    return [{'batch_input_shape': tuple(input_size), 'img_shape': tuple(size)} for size in sizes]
