"""Two-stage detector for the words of the request.

Shapes: B images, N regions, K words, D embedding width.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.branches.base import Branch
from vlm_dense.models.detectors.named_batches import BOXES, named_batches
from vlm_dense.models.pictures import pictures_of
from vlm_dense.models.requests import WordRows, vocabulary_of
from vlm_dense.models.sizes import alone, by_size
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import BackboneTail, TowerBackbone

Features = tuple[Tensor, ...]


class Maps(NamedTuple):
    """Feature maps of a batch, finest first.

    Args:
        proposal: The proposals are made from these.
        roi: RoIs are read from these.
        backbone: As the backbone gave them.
    """

    proposal: Features
    roi: Features
    backbone: Features


@MODELS.register_module()
class OVTwoStageDetector(TwoStageDetector):
    """Propose, embed, and classify against the words that the data samples carry.

    The text bank stands outside the module tree, so checkpoints hold neither text encoder nor teacher.

    Args:
        text_bank: Config of the text bank, or the bank.
        branches: By name, configs of training-time branches (`vlm_dense.models.branches.base.Branch`).
        roi_source: Where RoIs are read: 'neck', or 'backbone' for the backbone's last map (C4 style).
        proposals: Config of a `ProposalSource` that stands in for ``rpn_head``, without learning.
        unnamed_batch: What a batch is called that comes without a name: 'boxes' trains the detector, another name
            feeds the branches alone.
        region_scorer: Config of a `TowerRegionScorer` that has a say in the scores when testing; the backbone is then a
            `TowerBackbone`.
        parts: mmdet's ``backbone``, ``neck``, ``rpn_head``, ``roi_head``, ``train_cfg``, ``test_cfg``,
            ``data_preprocessor`` and ``init_cfg``.

    Raises:
        ConfigError: If the widths of text bank and box head differ, or a branch trains an embedding that the
            box head doesn't offer, or a scorer finds no tower, or scores that are a blend already; if proposals come
            from nowhere, or from two places.
    """

    def __init__(
        self,
        text_bank: Any,
        branches: dict[str, dict] | None = None,
        roi_source: Literal['neck', 'backbone'] = 'neck',
        proposals: dict | None = None,
        unnamed_batch: str = BOXES,
        region_scorer: dict | None = None,
        **parts: Any,
    ) -> None:
        if (proposals is None) == (parts.get('rpn_head') is None):
            raise ConfigError(
                'OVTwoStageDetector: proposals come from rpn_head or from proposals=...; give one of them.'
            )
        super().__init__(**parts)
        self.proposals: Any = None if proposals is None else MODELS.build(proposals)
        self.unnamed_batch = unnamed_batch
        if roi_source not in ('neck', 'backbone'):
            raise ConfigError(f"OVTwoStageDetector: roi_source={roi_source!r}; choose 'neck' or 'backbone'.")
        self.roi_source = roi_source
        # A plain attribute even where the bank is a module: its weights are not this model's.
        self.__dict__['text_bank'] = build_part(text_bank)
        self.branches = nn.ModuleDict({name: MODELS.build(branch) for name, branch in (branches or {}).items()})
        self.region_scorer = None if region_scorer is None else MODELS.build(region_scorer)
        self._check_parts()

    def _check_parts(self) -> None:
        head = self.roi_head.bbox_head
        if isinstance(getattr(self.roi_head, 'shared_head', None), BackboneTail):
            self.roi_head.shared_head.take(self.backbone)
        if self.text_bank.embed_dim != head.embed_dim:
            raise ConfigError(
                f'the text bank gives {self.text_bank.embed_dim} numbers per word, the box head '
                f'{head.embed_dim}; set roi_head.bbox_head.embed_dim={self.text_bank.embed_dim}.'
            )
        for name, branch in self.branches.items():
            if not isinstance(branch, Branch):
                raise ConfigError(f"branch '{name}' has no batch, embedding, sample and losses; see branches/base.py.")
            if branch.embedding == 'image' and head.distill == 'none':
                raise ConfigError(f"branch '{name}' distils, but the box head does not; set distill='separate'.")
        if self.region_scorer is None:
            return
        if not isinstance(self.backbone, TowerBackbone):
            raise ConfigError(f'region_scorer: {type(self.backbone).__name__} has no tower; take a TowerBackbone.')
        if head.distill == 'separate':
            raise ConfigError("region_scorer: distill='separate' blends scores already; set distill='none'.")

    def word_rows(self, vocabulary: Vocabulary, device: torch.device) -> WordRows:
        """Embeddings and flags of the words, on a device."""
        return WordRows(self.text_bank(vocabulary).to(device), torch.tensor(vocabulary.is_base, device=device))

    def features(self, images_B3HW: Tensor) -> Maps:
        """All feature maps of a batch, by one pass through the backbone."""
        backbone_maps = self.backbone(images_B3HW)
        maps = self.neck(backbone_maps) if self.with_neck else backbone_maps
        return Maps(maps, maps if self.roi_source == 'neck' else backbone_maps[-1:], backbone_maps)

    def extract_feat(self, batch_inputs: Tensor) -> Features:
        """Maps for the proposals."""
        return self.features(batch_inputs).proposal

    def loss(self, batch_inputs: Any, batch_data_samples: Any) -> dict[str, Any]:
        """Losses of the detector and of every branch.

        Args:
            batch_inputs: Normalised pictures (B, 3, H, W), or a dict of them by batch name.
            batch_data_samples: Samples in the same form.

        Returns:
            Losses of mmdet's heads under their own names; those of a branch as ``<branch>.<key>``.
        """
        fed_by = {name: str(branch.batch) for name, branch in self.branches.items()}
        batches = named_batches(batch_inputs, batch_data_samples, fed_by, self.unnamed_batch)
        losses: dict[str, Any] = {}
        for batch_name, (images_B3HW, data_samples) in batches.items():
            maps, roi_maps, _ = self.features(images_B3HW)
            if batch_name == BOXES:
                found, proposals = self._detector_losses(maps, roi_maps, images_B3HW, data_samples)
                losses.update(found)
            else:
                proposals = self.propose(maps, images_B3HW, data_samples)
            fed = [name for name, wanted in fed_by.items() if wanted == batch_name]
            if fed:
                pictures_B3HW = pictures_of(images_B3HW, self.data_preprocessor)
                for name in fed:
                    losses.update(self._branch_losses(name, roi_maps, proposals, pictures_B3HW, data_samples))
        return losses

    @torch.no_grad()
    def propose(self, maps: Features, images_B3HW: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """Per picture ``bboxes`` (n, 4), xyxy px of the batch picture, and ``scores`` (n,), without gradient."""
        if self.proposals is None:
            return self.rpn_head.predict(maps, data_samples, rescale=False)
        return self.proposals(pictures_of(images_B3HW, self.data_preprocessor), data_samples)

    def _detector_losses(
        self, maps: Features, roi_maps: Features, images_B3HW: Tensor, data_samples: list[DetDataSample]
    ) -> tuple[dict[str, Any], list[InstanceData]]:
        words = self.word_rows(vocabulary_of(data_samples), maps[0].device)
        losses: dict[str, Any] = {}
        if self.proposals is None:
            proposal_cfg = self.train_cfg.get('rpn_proposal', self.test_cfg.rpn)
            class_agnostic = [without_classes(sample) for sample in data_samples]
            losses, proposals = self.rpn_head.loss_and_predict(maps, class_agnostic, proposal_cfg=proposal_cfg)
        else:
            proposals = self.propose(maps, images_B3HW, data_samples)
        losses.update(self.roi_head.loss(roi_maps, proposals, data_samples, words))
        return losses, proposals

    def _branch_losses(
        self,
        name: str,
        roi_maps: Features,
        proposals: list[InstanceData],
        pictures_B3HW: Tensor,
        data_samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        branch: Any = self.branches[name]
        regions = branch.sample(proposals, data_samples)
        region_ND = self.roi_head.embed(roi_maps, regions.boxes, branch.embedding)
        losses = branch.losses(region_ND, regions, pictures_B3HW, data_samples)
        return {f'{name}.{key}': value for key, value in losses.items()}

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Detections; labels index the vocabulary of the samples, which stays in their metainfo.

        Pictures of different sizes are answered one size after the other, without the padding that the batch gave them;
        padding up to the preprocessor's divisor, which a picture alone has too, stays.

        Args:
            batch_inputs: Normalised pictures (B, 3, H, W).
            batch_data_samples: Samples that carry the vocabulary, any K.
            rescale: Whether boxes are wanted in pixels of the original image.
        """
        words = self.word_rows(vocabulary_of(batch_data_samples), batch_inputs.device)
        pairs = zip(batch_inputs, batch_data_samples, strict=True)
        for rows, images_B3HW in by_size([alone(*pair) for pair in pairs]):
            samples = [batch_data_samples[row] for row in rows]
            self.add_pred_to_datasample(samples, self._detect(images_B3HW, samples, words, rescale))
        return batch_data_samples

    def _detect(
        self, images_B3HW: Tensor, data_samples: list[DetDataSample], words: WordRows, rescale: bool
    ) -> list[InstanceData]:
        maps = self.features(images_B3HW)
        proposals = self.propose(maps.proposal, images_B3HW, data_samples)
        rescore = self._rescore(maps.backbone, proposals, words)
        return self.roi_head.predict(maps.roi, proposals, data_samples, words, rescale, rescore)

    def _rescore(
        self, backbone_maps: Features, proposals: list[InstanceData], words: WordRows
    ) -> Callable[[Tensor], Tensor] | None:
        if self.region_scorer is None:
            return None
        region_ND = self.region_scorer.embed(self.backbone, backbone_maps, [found.bboxes for found in proposals])
        return partial(self.region_scorer, region_ND=region_ND, words=words)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> tuple:
        maps, roi_maps, _ = self.features(batch_inputs)
        proposals = self.propose(maps, batch_inputs, batch_data_samples)
        return (self.roi_head.forward(roi_maps, proposals),)


def without_classes(data_sample: DetDataSample) -> DetDataSample:
    """The same sample with every label 0, for the proposal head; the given one is unchanged."""
    truth = data_sample.gt_instances
    agnostic = copy.copy(data_sample)
    agnostic.gt_instances = InstanceData(bboxes=truth.bboxes, labels=torch.zeros_like(truth.labels))
    return agnostic
