"""RoI head that receives the words with every call.

Shapes: N regions of a batch, K words, D embedding width.
"""

from collections.abc import Callable
from typing import Any

from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import empty_instances, unpack_gt_instances
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.models.heads.bbox.ov_bbox_head import RegionOutputs
from vlm_dense.models.heads.bbox.word_parts import SCORES_AT_ONCE
from vlm_dense.models.heads.roi.objectness import Objectness, check_objectness, with_objectness
from vlm_dense.models.requests import WordRows
from vlm_dense.registry import MODELS


@MODELS.register_module()
class OVRoIHead(StandardRoIHead):
    """mmdet's standard RoI head with the words as an argument instead of a fixed number of classes.

    Box head, mask head (class-agnostic), RoI extractors, shared head, assigner and sampler are configured
    as in mmdet; the box head is an `OVBBoxHead`. A shared head with a method ``pool`` (`BackboneTail`) gives the
    mask head its map, and the box head what it pools from that.

    Args:
        objectness: How the objectness of proposals enters the scores, see `with_objectness`.
        parts: Arguments of mmdet's ``StandardRoIHead``.

    Raises:
        ConfigError: If there is no such way.
    """

    def __init__(self, objectness: Objectness = 'ignore', **parts: Any) -> None:
        check_objectness(objectness)
        super().__init__(**parts)
        self.objectness: Objectness = objectness

    def forward(self, x: tuple[Tensor, ...], proposals: list[InstanceData], data_samples: Any = None) -> tuple:
        """Embeddings and box refinements of proposals, and masks of the first 100; no word is involved."""
        rois_N5 = bbox2roi([found.bboxes for found in proposals])
        outputs = self._bbox_forward(x, rois_N5)
        if not self.with_mask:
            return (outputs.text_ND, outputs.image_ND, outputs.delta_N4)
        masks = self._mask_forward(x, rois_N5[:100])['mask_preds']
        return (outputs.text_ND, outputs.image_ND, outputs.delta_N4, masks)

    def roi_features(self, x: tuple[Tensor, ...], rois_N5: Tensor) -> Tensor:
        """Features (N, C, r, r) of regions, after the shared head where there is one."""
        features_NCrr = self.bbox_roi_extractor(x[: self.bbox_roi_extractor.num_inputs], rois_N5)
        return self.shared_head(features_NCrr) if self.with_shared_head else features_NCrr

    def _pooled(self, features_NCrr: Tensor) -> Tensor:
        """What the box head sees of `roi_features`."""
        pool = getattr(self.shared_head, 'pool', None) if self.with_shared_head else None
        return features_NCrr if pool is None else pool(features_NCrr)

    def _bbox_forward(self, x: tuple[Tensor, ...], rois: Tensor) -> RegionOutputs:
        return self.bbox_head(self._pooled(self.roi_features(x, rois)))

    def embed(self, x: tuple[Tensor, ...], boxes: list[Tensor], embedding: str) -> Tensor:
        """Embeddings of given regions.

        Args:
            x: Feature maps that RoIs are read from.
            boxes: Per image (n, 4) xyxy px of the batch picture.
            embedding: 'text' or 'image', the two embeddings of `OVBBoxHead`.

        Returns:
            (N, D), images one after the other, not normalised.
        """
        features_NCrr = self._pooled(self.roi_features(x, bbox2roi(boxes)))
        head = self.bbox_head
        return head.embed_image(features_NCrr) if embedding == 'image' else head.embed_text(features_NCrr)

    def loss(
        self, x: tuple[Tensor, ...], proposals: list[InstanceData], data_samples: list[DetDataSample], words: WordRows
    ) -> dict[str, Tensor]:
        """Classification, box and mask losses of sampled proposals.

        Args:
            x: Feature maps that RoIs are read from.
            proposals: Per image, ``bboxes`` (n, 4) xyxy px; left unchanged.
            data_samples: Ground truth; labels index ``words``.
            words: Rows of the vocabulary.
        """
        truths, ignored, _ = unpack_gt_instances(data_samples)
        sampled = [
            self._sample(x, image, found.bboxes, truths[image], ignored[image]) for image, found in enumerate(proposals)
        ]
        rois_N5 = bbox2roi([result.priors for result in sampled])
        features_NCrr = self.roi_features(x, rois_N5)
        # Only the branches' regions train the distilled trunk, so its norms see no others.
        outputs = self.bbox_head(self._pooled(features_NCrr), with_image=False)
        losses = self.bbox_head.losses(outputs, rois_N5, words, sampled, self.train_cfg)
        if self.with_mask:
            losses.update(self.mask_loss(x, sampled, features_NCrr, truths)['loss_mask'])
        return losses

    def _sample(
        self, x: tuple[Tensor, ...], image: int, boxes: Tensor, truth: InstanceData, ignored: InstanceData | None
    ) -> SamplingResult:
        priors = InstanceData(priors=boxes)
        assigned = self.bbox_assigner.assign(priors, truth, ignored)
        return self.bbox_sampler.sample(assigned, priors, truth, feats=[level[image][None] for level in x])

    def predict(
        self,
        x: tuple[Tensor, ...],
        proposals: list[InstanceData],
        data_samples: list[DetDataSample],
        words: WordRows,
        rescale: bool = False,
        rescore: Callable[[Tensor], Tensor] | None = None,
    ) -> list[InstanceData]:
        """Detections of every image; ``labels`` index the words.

        Args:
            x: Feature maps that RoIs are read from.
            proposals: Per image, ``bboxes`` (n, 4) xyxy px and, where ``objectness`` is read, ``scores`` (n,).
            data_samples: Give the sizes of the images.
            words: Rows of the vocabulary, any K.
            rescale: Whether boxes and masks are wanted in pixels of the original image.
            rescore: Makes scores (N, K) of the text head's probabilities (N, K + 1), background last, for all
                proposals, images one after the other; None takes the box head's own scores.
        """
        metainfos = [sample.metainfo for sample in data_samples]
        # The mask head rescales boxes together with masks.
        results = self.predict_bbox(x, metainfos, proposals, words, rescale and not self.with_mask, rescore)
        return self.predict_mask(x, metainfos, results, rescale) if self.with_mask else results

    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        metainfos: list[dict],
        proposals: list[InstanceData],
        words: WordRows,
        rescale: bool,
        rescore: Callable[[Tensor], Tensor] | None = None,
    ) -> list[InstanceData]:
        """Boxes, scores and labels of every image.

        ``test_cfg.scores_at_once`` bounds the matrix of scores without changing results; a ``rescore`` sees all.
        """
        counts = [len(found.bboxes) for found in proposals]
        rois_N5 = bbox2roi([found.bboxes for found in proposals])
        if len(rois_N5) == 0:
            return empty_instances(metainfos, rois_N5.device, task_type='bbox')
        outputs = self._bbox_forward(x, rois_N5)
        if rescore is None:
            at_once = self.test_cfg.get('scores_at_once', SCORES_AT_ONCE)
            scores = self.bbox_head.scores_in_parts(outputs, words, counts, at_once)
        else:
            scores = rescore(self.bbox_head.probabilities(outputs.text_ND, words)).split(counts)
        if self.objectness != 'ignore':
            pairs = zip(scores, proposals, strict=True)
            scores = [with_objectness(score, found.scores, self.objectness) for score, found in pairs]
        deltas = [None] * len(counts) if outputs.delta_N4 is None else outputs.delta_N4.split(counts)
        return [
            self.bbox_head.decode(*parts, self.test_cfg, rescale)
            for parts in zip(rois_N5.split(counts), deltas, scores, metainfos, strict=True)
        ]
