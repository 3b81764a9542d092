"""Detection as phrase grounding: regions are scored by the tokens of a text, words by the mean of their tokens.

Shapes: B pictures, N regions, L tokens, K words of a prompt, G ground truths, P positive regions.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from mmdet.models.dense_heads import ATSSHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.utils import reduce_mean
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.grounding import PromptTokens, TextTokens, TextWords
from vlm_dense.models.heads.grounding.detections import ScoredRegions, best_of, detect
from vlm_dense.models.heads.grounding.levels import flatten_levels
from vlm_dense.models.heads.grounding.positive_boxes import positive_boxes
from vlm_dense.models.heads.grounding.region_tokens import RegionTokenNetwork, RegionTokens
from vlm_dense.registry import MODELS

LAST_PIXEL = (0, 0, -1, -1)


@MODELS.register_module()
class GroundingHead(ATSSHead):
    """GLIP's head (arXiv:2112.03857), Sec. 3, with the state dict of mmdet's ``ATSSVLFusionHead``.

    Regions are matched as in ATSS (arXiv:1912.02424), with anchors whose last pixel lies inside, as in the released
    code; boxes are decoded from the anchors themselves.

    Args:
        in_channels: Channels of the pyramid's maps.
        feat_channels: Channels inside the head.
        early_fuse: Image and text read each other before every block; else text is met only in the logits.
        num_blocks: Blocks of the tower (GLIP-T 6, GLIP-L 8).
        text: ``width``, ``num_heads``, ``intermediate`` and ``dropout`` of the text tower's layers; by default those
            of BERT-base.
        fusion: ``embed_width``, ``num_heads`` and ``dropout`` of the fusion; by default 2048, 8 and 0.1.
        use_checkpoint: In training, compute fusion again for the backward pass and keep nothing of it.
        alignment: Config of a `TowerAlignment`, for backbones that share a space with words; None adds nothing.
        aux_losses: Configs by name of further losses; each is called with regions (B, N, C), their positive tokens
            (B, N, L), the texts and their words (`TextWords`), and returns a dict of losses.
        aux_regions: What they get: 'pyramid', the maps and texts before they are fused (GLIPv2, arXiv:2206.05836,
            contrasts these, for fused ones know their own text); 'tower', the regions that are scored.
        head: Remaining arguments of mmdet's ``ATSSHead`` (``anchor_generator``, ``bbox_coder``, ``loss_cls``,
            ``loss_bbox``, ``loss_centerness``, ``train_cfg``, ``test_cfg``). ``loss_cls`` is called with logits and
            targets (B, N, L), which tokens are real (B, L), weights (B, N) and ``avg_factor``.
    """

    def __init__(
        self,
        in_channels: int = 256,
        feat_channels: int = 256,
        early_fuse: bool = False,
        num_blocks: int = 6,
        text: dict | None = None,
        fusion: dict | None = None,
        use_checkpoint: bool = False,
        alignment: dict | None = None,
        aux_losses: dict[str, dict] | None = None,
        aux_regions: Literal['pyramid', 'tower'] = 'pyramid',
        **head: Any,
    ) -> None:
        init_cfg = head.pop('init_cfg', dict(type='Normal', layer='Conv2d', std=0.01))
        # The vocabulary comes with the request; the parent only wants to know that there is one.
        super().__init__(
            num_classes=1,
            in_channels=in_channels,
            feat_channels=feat_channels,
            reg_decoded_bbox=True,
            init_cfg=init_cfg,
            **head,
        )
        self.aux_regions: Literal['pyramid', 'tower'] = aux_regions
        self._check_arguments()
        self.alignment = None if alignment is None else MODELS.build(alignment)
        self.aux_losses = nn.ModuleDict({name: MODELS.build(loss) for name, loss in (aux_losses or {}).items()})
        self.head = RegionTokenNetwork(
            in_channels=in_channels,
            channels=feat_channels,
            num_levels=self.prior_generator.num_levels,
            fuse=early_fuse,
            num_blocks=num_blocks,
            text=text or {},
            fusion={**(fusion or {}), 'use_checkpoint': use_checkpoint},
        )

    def _check_arguments(self) -> None:
        if self.num_base_priors != 1:
            raise ConfigError(
                f'GroundingHead: the anchor generator gives {self.num_base_priors} anchors per place; '
                'give one scale and one ratio.'
            )
        if self.aux_regions not in ('pyramid', 'tower'):
            raise ConfigError(f"GroundingHead: aux_regions={self.aux_regions!r}; choose 'pyramid' or 'tower'.")

    def _init_layers(self) -> None:
        """ATSS's own layers are not used."""

    def forward(self, maps: Sequence[Tensor], text: TextTokens, cell_BDhw: Tensor | None = None) -> RegionTokens:
        """What the network says about B pictures with a text each; see `RegionTokens`, and `loss` for the arguments."""
        (found,) = self._read_each(maps, [text], cell_BDhw)
        return found

    def loss(
        self,
        maps: Sequence[Tensor],
        text: TextTokens,
        data_samples: Sequence[BaseDataElement],
        cell_BDhw: Tensor | None = None,
        words: TextWords | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch in which every picture has its own text.

        Args:
            maps: (B, C, h, w) per level, finest first.
            text: B texts.
            data_samples: With ``gt_instances.bboxes`` (G, 4) and ``positive_maps`` (G, L), 1 at the tokens of each.
            cell_BDhw: Of ``alignment.cells``, where there is one; the texts then hold ``word_BLD``.
            words: Of the texts, for auxiliary losses; None says nothing of them.
        """
        return self.losses_of(self(maps, text, cell_BDhw), maps, text, data_samples, words)

    def losses_of(
        self,
        found: RegionTokens,
        maps: Sequence[Tensor],
        text: TextTokens,
        data_samples: Sequence[BaseDataElement],
        words: TextWords | None = None,
    ) -> dict[str, Tensor]:
        """`loss` of what `forward` said already."""
        truths, ignored, metas = unpack_gt_instances(data_samples)
        sizes = [level.shape[2:] for level in maps]
        anchors, flags = self.get_anchors(sizes, metas, device=maps[0].device)
        *targets, num_positive = self.get_targets(anchors, flags, truths, metas, ignored)
        anchor_BN4, token_BNL, weight_BN, target_BN4, _ = (torch.cat(levels, dim=1) for levels in targets)
        share = reduce_mean(anchor_BN4.new_tensor(num_positive)).item()
        losses = {'loss_cls': self.loss_cls(found.logits_BNL, token_BNL, text.is_token_BL, weight_BN, avg_factor=share)}
        losses.update(self._box_losses(found, anchor_BN4, target_BN4, token_BNL.sum(2) > 0, share))
        region_BNC = flatten_levels(maps) if self.aux_regions == 'pyramid' else found.region_BNC
        for name, aux_loss in self.aux_losses.items():
            losses.update({f'{name}.{key}': loss for key, loss in aux_loss(region_BNC, token_BNL, text, words).items()})
        return losses

    def _box_losses(
        self, found: RegionTokens, anchor_BN4: Tensor, target_BN4: Tensor, is_positive_BN: Tensor, share: float
    ) -> dict[str, Tensor]:
        boxes = positive_boxes(found, anchor_BN4, target_BN4, is_positive_BN)
        weight = reduce_mean(boxes.centerness_target_P.sum()).clamp(min=1).item()
        if not len(boxes.target_P4):
            # Every weight takes part in every step, so that processes agree on what they exchange.
            return {'loss_bbox': found.delta_BN4.sum() * 0, 'loss_centerness': found.centerness_BN.sum() * 0}
        decoded_P4 = self.bbox_coder.decode(boxes.anchor_P4, boxes.delta_P4)
        loss_bbox = self.loss_bbox(decoded_P4, boxes.target_P4, weight=boxes.centerness_target_P, avg_factor=1.0)
        loss_centerness = self.loss_centerness(boxes.centerness_P, boxes.centerness_target_P, avg_factor=share)
        return {'loss_bbox': loss_bbox / weight, 'loss_centerness': loss_centerness}

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        num_level_anchors: list[int],
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
        unmap_outputs: bool = True,
    ) -> tuple[Any, ...]:
        """Of one picture: anchors (N, 4), tokens (N, L), weights (N,), boxes and their weights (N, 4), matches."""
        anchor_N4 = flat_anchors + flat_anchors.new_tensor(LAST_PIXEL)
        priors = InstanceData(priors=anchor_N4)
        assigned = self.assigner.assign(priors, num_level_anchors, gt_instances, gt_instances_ignore)
        sampled = self.sampler.sample(assigned, priors, gt_instances)
        tokens_GL = gt_instances.positive_maps
        token_NL = anchor_N4.new_zeros(len(anchor_N4), tokens_GL.shape[1])
        weight_N = anchor_N4.new_zeros(len(anchor_N4))
        box_N4, box_weight_N4 = torch.zeros_like(anchor_N4), torch.zeros_like(anchor_N4)
        positive_P = sampled.pos_inds
        token_NL[positive_P] = tokens_GL[sampled.pos_assigned_gt_inds].to(token_NL)
        box_N4[positive_P] = sampled.pos_gt_bboxes.to(box_N4)
        box_weight_N4[positive_P] = 1
        weight_N[positive_P] = self.train_cfg['pos_weight'] if self.train_cfg['pos_weight'] > 0 else 1
        weight_N[sampled.neg_inds] = 1
        return anchor_N4, token_NL, weight_N, box_N4, box_weight_N4, positive_P, sampled.neg_inds, sampled

    def _read_each(
        self, maps: Sequence[Tensor], texts: Sequence[TextTokens], cell_BDhw: Tensor | None
    ) -> Iterator[RegionTokens]:
        sizes = [level.shape[2:] for level in maps]
        for text, found in zip(texts, self.head.read_each(maps, texts), strict=True):
            if self.alignment is None:
                yield found
                continue
            added_BNL = self.alignment(cell_BDhw, text.word_BLD, sizes)
            yield found._replace(logits_BNL=found.logits_BNL + added_BNL)

    def predict(
        self,
        maps: Sequence[Tensor],
        prompts: Sequence[PromptTokens],
        metainfos: Sequence[dict],
        rescale: bool = True,
        cell_BDhw: Tensor | None = None,
    ) -> list[InstanceData]:
        """Detections of B pictures of one size that are all asked for the same words.

        Words of different prompts never suppress each other, so that suppression within each prompt, and then the
        best of all prompts, is the same as suppression of everything at once.

        Args:
            maps: (B, C, h, w) per level, finest first.
            prompts: At least one; the rows of no two of them overlap.
            metainfos: ``img_shape`` and, to rescale, ``scale_factor`` of every picture.
            rescale: Boxes in the pictures as they were loaded.
            cell_BDhw: As in `loss`.

        Returns:
            Per picture boxes xyxy px, scores in falling order, and labels, which are rows of the vocabulary.
        """
        sizes = [level.shape[2:] for level in maps]
        device = maps[0].device
        # In single precision whatever the maps are: bfloat16 places an anchor at 1,028 px on 1,024 or 1,032.
        anchor_N4 = torch.cat(self.prior_generator.grid_priors(sizes, device=device))
        level_sizes = [size.numel() for size in sizes]
        parts: list[list[InstanceData]] = [[] for _ in metainfos]
        outputs = self._read_each(maps, [prompt.text for prompt in prompts], cell_BDhw)
        for prompt, found in zip(prompts, outputs, strict=True):
            with torch.autocast(device.type, enabled=False):
                score_BNK = found.logits_BNL.sigmoid() @ prompt.token_map_KL.to(found.logits_BNL).T
            centerness_BN = found.centerness_BN.sigmoid()
            for row, meta in enumerate(metainfos):
                regions = ScoredRegions(score_BNK[row], centerness_BN[row], found.delta_BN4[row], anchor_N4)
                part = detect(regions, level_sizes, self.bbox_coder, self.test_cfg, meta, rescale)
                part.labels = prompt.rows_K[part.labels]
                parts[row].append(part)
        return [best_of(of_picture, self.test_cfg['max_per_img']) for of_picture in parts]
