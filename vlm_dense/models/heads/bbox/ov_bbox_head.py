"""Box head whose classes are the words of the request.

Shapes: N regions, K words, D embedding width, r side of the RoI features in cells.

Source: ViLD (arXiv:2104.13921), Sec. 3, Fig. 3, and the constants of its TPU release. Its three forms are the three
values of ``distill``: 'none' is ViLD-text, 'shared' is ViLD (one embedding gets both losses) and
'separate' is ViLD-ensemble (a second, independent trunk and projection that only distillation trains).
"""

from typing import Any, Literal, NamedTuple

import torch
from mmdet.models.losses import accuracy
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.structures.bbox import get_box_tensor, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.classifiers.score_fusion import ScoreFusion
from vlm_dense.models.heads.bbox.suppression import best_detections
from vlm_dense.models.heads.bbox.trunk import RegionTrunk
from vlm_dense.models.heads.bbox.word_parts import WordParts
from vlm_dense.models.requests import WordRows
from vlm_dense.registry import MODELS

# Targets name the background by a number no word can have; K is known only when the loss is taken.
BACKGROUND_LABEL = 2**31 - 1
# Powers of the distilled head's score: ViLD (arXiv:2104.13921), Sec. 3.4.
VILD_BASE_POWER = 1 / 3
VILD_NOVEL_POWER = 2 / 3


class RegionOutputs(NamedTuple):
    """What the head says about N regions, before any word is involved.

    Args:
        text_ND: Embeddings that the classification loss trains, not normalised.
        image_ND: Embeddings that distillation trains, where it has its own trunk and they were asked for; or None.
        delta_N4: Encoded box refinement, or None.
    """

    text_ND: Tensor
    image_ND: Tensor | None
    delta_N4: Tensor | None


@MODELS.register_module()
class OVBBoxHead(BBoxHead):
    """Embeddings, class-agnostic box refinement, and scores for any list of words.

    Args:
        embed_dim: Width D of the embeddings; equals the text bank's.
        classifier: Config of the classifier of ``text_ND``; it must have a background column.
        trunk: Arguments of `RegionTrunk` for the embeddings; a second copy serves ``distill='separate'``.
        box_trunk: Arguments of `RegionTrunk` for the boxes; None shares the first trunk.
        projection: Config of the layer that maps trunk features to D (``in_features`` and
            ``out_features`` are filled in), or 'none' where they are the embeddings already.
        distill: Who receives the distillation loss: see the module's docstring.
        image_classifier: Config of the classifier of ``image_ND``, without background; used by 'separate'.
        base_power: Weight of the distilled scores on base words ('separate').
        novel_power: Weight of the distilled scores on novel words ('separate'). Both at 1 is ViLD-image.
        background_weight: Weight of background regions in the classification loss (F-VLM 0.9, RegionCLIP 0.2 or 0.8).
        with_reg: Whether boxes are refined; without, proposals are the answer, and nothing of them learns.
        in_channels: Channels of the RoI features.
        roi_feat_size: Side r of the RoI features.
        box_head: Remaining arguments of mmdet's ``BBoxHead`` (``bbox_coder``, ``loss_cls``, ``loss_bbox``, ...).
    """

    def __init__(
        self,
        embed_dim: int,
        classifier: dict,
        trunk: dict | None = None,
        box_trunk: dict | None = None,
        projection: dict | Literal['none'] | None = None,
        distill: Literal['none', 'shared', 'separate'] = 'none',
        image_classifier: dict | None = None,
        base_power: float = VILD_BASE_POWER,
        novel_power: float = VILD_NOVEL_POWER,
        background_weight: float = 1.0,
        with_reg: bool = True,
        in_channels: int = 256,
        roi_feat_size: int = 7,
        **box_head: Any,
    ) -> None:
        if distill not in ('none', 'shared', 'separate'):
            raise ConfigError(f"OVBBoxHead: distill={distill!r}; choose 'none', 'shared' or 'separate'.")
        roi: dict[str, Any] = {'in_channels': in_channels, 'roi_size': roi_feat_size}
        text_trunk = RegionTrunk(**roi, **(trunk or {}))
        reg_trunk = None if box_trunk is None else RegionTrunk(**roi, **box_trunk)
        super().__init__(
            with_avg_pool=True,  # The trunk pools; this keeps fc_reg as wide as the trunk's output.
            with_cls=False,
            roi_feat_size=roi_feat_size,
            in_channels=(reg_trunk or text_trunk).out_channels,
            num_classes=BACKGROUND_LABEL,
            reg_class_agnostic=True,
            **box_head,
        )
        if not with_reg:
            # mmdet's own switch asks for a classifier of its own in exchange.
            self.with_reg, self.init_cfg = False, None
            del self.fc_reg
        self.embed_dim = embed_dim
        self.distill = distill
        self.fusion = ScoreFusion(base_power, novel_power)
        self.background_weight = background_weight
        self.trunk = text_trunk
        self.box_trunk = reg_trunk
        self.projection = self._build_projection(projection)
        self.classifier = MODELS.build({'embed_dim': embed_dim, **classifier})
        if not self.classifier.has_background:
            raise ConfigError("OVBBoxHead: the classifier needs a background column; set background='learned'.")
        if distill == 'separate':
            self.image_trunk = RegionTrunk(**roi, **(trunk or {}))
            self.image_projection = self._build_projection(projection)
            self.image_classifier = MODELS.build(self._image_classifier_config(classifier, image_classifier))

    def _build_projection(self, projection: dict | Literal['none'] | None) -> torch.nn.Module:
        widths = {'in_features': self.trunk.out_channels, 'out_features': self.embed_dim}
        if projection == 'none':
            if self.trunk.out_channels != self.embed_dim:
                raise ConfigError(
                    f"OVBBoxHead: projection='none', but the trunk gives {self.trunk.out_channels} numbers and "
                    f'embed_dim is {self.embed_dim}; make them equal, or give a projection.'
                )
            return torch.nn.Identity()
        return MODELS.build({**(projection or {'type': 'Linear'}), **widths})

    def _image_classifier_config(self, classifier: dict, image_classifier: dict | None) -> dict:
        # ViLD takes q over the K words alone: the distilled head never saw a background.
        config = {'embed_dim': self.embed_dim, **(image_classifier or classifier), 'background': None}
        return {**config, 'novel': 'keep'}

    def forward(self, features_NCrr: Tensor, with_image: bool = True) -> RegionOutputs:
        """Embeddings and box refinements of regions.

        Args:
            features_NCrr: RoI features (N, C, r, r); N may be 0.
            with_image: Whether the distilled trunk, where there is one, runs too.
        """
        trunk_ND = self.trunk(features_NCrr)
        image_ND = self.embed_image(features_NCrr) if with_image and self.distill == 'separate' else None
        delta_N4 = None
        if self.with_reg:
            delta_N4 = self.fc_reg(trunk_ND if self.box_trunk is None else self.box_trunk(features_NCrr))
        return RegionOutputs(self.projection(trunk_ND), image_ND, delta_N4)

    def embed_text(self, features_NCrr: Tensor) -> Tensor:
        """The embeddings that classification trains, (N, D)."""
        return self.projection(self.trunk(features_NCrr))

    def embed_image(self, features_NCrr: Tensor) -> Tensor:
        """The embeddings that distillation trains, (N, D)."""
        if self.distill == 'separate':
            return self.image_projection(self.image_trunk(features_NCrr))
        return self.embed_text(features_NCrr)

    def losses(
        self, outputs: RegionOutputs, rois_N5: Tensor, words: WordRows, sampling_results: list, train_cfg: Any
    ) -> dict[str, Tensor]:
        """Softmax cross entropy over K words and background, and the box loss of the positives.

        Args:
            outputs: Of `forward`, rows in the order of the sampled regions.
            rois_N5: Image index and xyxy px of every region.
            words: Rows of the vocabulary that the labels index.
            sampling_results: mmdet's sampling result of every image.
            train_cfg: The R-CNN part of ``train_cfg``.
        """
        labels_N, *targets = self.get_targets(sampling_results, train_cfg)
        logits_NK = self.classifier(outputs.text_ND, words.text_KD, words.is_base_K)
        is_background_N = labels_N == BACKGROUND_LABEL
        word_labels_N = labels_N.masked_fill(is_background_N, len(words.text_KD))
        weights_N = targets[0]
        # Background counts as a whole region in the mean, as in F-VLM's release.
        counted = max(int((weights_N > 0).sum()), 1)
        weights_N = torch.where(is_background_N, self.background_weight * weights_N, weights_N)
        losses = {
            'loss_cls': self.loss_cls(logits_NK, word_labels_N, weights_N, avg_factor=counted),
            'acc': accuracy(logits_NK, word_labels_N),
        }
        return {**losses, **super().loss(None, outputs.delta_N4, rois_N5, labels_N, *targets)}

    def probabilities(self, text_ND: Tensor, words: WordRows) -> Tensor:
        """The text head's softmax over K words and background, (N, K + 1)."""
        return self.classifier(text_ND, words.text_KD, words.is_base_K).softmax(dim=1)

    def scores(self, text_ND: Tensor, image_ND: Tensor | None, words: WordRows) -> Tensor:
        """Score of every word for every region, (N, K), background removed.

        The text head's softmax runs over K words and background. With ``distill='separate'`` it is blended
        with the distilled head's softmax over the K words alone (ViLD, Sec. 3.4).
        """
        text_KD, is_base_K = words
        text_NK = self.classifier(text_ND, text_KD, is_base_K)
        image_NK = None if image_ND is None else self.image_classifier(image_ND, text_KD)
        return self.fusion(text_NK, image_NK, None, is_base_K)

    def scores_in_parts(
        self, outputs: RegionOutputs, words: WordRows, counts: list[int], scores_at_once: int
    ) -> list[Tensor | WordParts]:
        """`scores` of every image, in parts where the vocabulary is too large for a matrix.

        Args:
            outputs: Of `forward`, images one after the other.
            words: Rows of the vocabulary.
            counts: Regions of every image.
            scores_at_once: Numbers in a matrix.
        """
        text_ND, image_ND, _ = outputs
        classifiers = [self.classifier] if image_ND is None else [self.classifier, self.image_classifier]
        in_parts = all(getattr(classifier, 'words_apart', False) for classifier in classifiers)
        if not in_parts or text_ND.shape[0] * len(words.text_KD) <= scores_at_once:
            return list(self.scores(text_ND, image_ND, words).split(counts))
        images = [None] * len(counts) if image_ND is None else image_ND.split(counts)
        pairs = zip(text_ND.split(counts), images, strict=True)
        return [WordParts(self, text_nD, image_nD, words, scores_at_once) for text_nD, image_nD in pairs]

    def decode(
        self,
        rois_N5: Tensor,
        delta_N4: Tensor | None,
        scores: Tensor | WordParts,
        metainfo: dict,
        test_cfg: Any,
        rescale: bool,
    ) -> InstanceData:
        """Detections of one image after suppression.

        Args:
            rois_N5: Image index and xyxy px of the batch picture.
            delta_N4: Box refinements, or None to keep the proposals.
            scores: (N, K) of `scores`, or in parts.
            metainfo: ``img_shape`` and, to rescale, ``scale_factor`` of the image.
            test_cfg: The R-CNN part of ``test_cfg``.
            rescale: Whether boxes are wanted in pixels of the original image.
        """
        boxes_N4 = rois_N5[:, 1:]
        if delta_N4 is not None:
            boxes_N4 = get_box_tensor(self.bbox_coder.decode(boxes_N4, delta_N4, max_shape=metainfo['img_shape']))
        if rescale and len(boxes_N4):
            boxes_N4 = scale_boxes(boxes_N4, [1 / factor for factor in metainfo['scale_factor']])
        boxes_M4, scores_M, labels_M = best_detections(
            boxes_N4, scores, test_cfg.score_thr, test_cfg.nms, test_cfg.max_per_img
        )
        return InstanceData(bboxes=boxes_M4, scores=scores_M, labels=labels_M)
