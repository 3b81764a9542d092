"""A detector that finds masks and names them: instances, panoptic maps and labels of pixels from the same masks.

Shapes: B images, N masks of a picture, K words of the request, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

from mmdet.models.detectors import SingleStageDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.ov_decode_head import IGNORE_INDEX, check_labels
from vlm_dense.models.heads.mask import segments_of_instances, segments_of_panoptic
from vlm_dense.models.heads.mask.decoding import (
    MAX_PER_IMAGE,
    Frame,
    MaskWindow,
    PanopticRules,
    SemanticMaps,
    SemanticRules,
    Strips,
    instances,
    panoptic_map,
    things_of,
)
from vlm_dense.models.mask_naming import MaskNaming, Synonyms
from vlm_dense.models.requests import vocabulary_of
from vlm_dense.models.sizes import alone, by_size
from vlm_dense.registry import MODELS


@MODELS.register_module()
class OVMaskDetector(MaskNaming, SingleStageDetector):
    """mmdet's ``MaskFormer`` and ``Mask2Former`` with an open vocabulary, such as FC-CLIP (arXiv:2308.02487).

    The words come in the metainfo of the data samples (``vlm_dense.AttachVocabulary``), which say by ``is_thing`` what
    is counted; where they don't, all words are things. Nothing of a vocabulary is stored.

    Args:
        backbone: As in mmdet, as is ``neck``.
        mask_head: ``vlm_dense.OVMaskFormerHead`` or ``vlm_dense.OVMask2FormerHead``, with its ``train_cfg``.
        text_bank: As in `MaskNaming.start_naming`, as are the next four.
        neck: Or None.
        regions: There.
        fusion: There. Panoptic maps take for the void what the scores of a mask leave of 1, which is the head's void
            with ``void='factor'`` or ``'normalised'`` alone.
        region_bank: There.
        synonyms: There.
        ignore_index: Label of pixels of ``gt_sem_seg`` that belong to no mask in training.
        test_cfg: What is predicted: ``instance_on`` (the default), ``panoptic_on``, ``semantic_on``. How: mmdet's
            ``max_per_image`` (100), ``object_mask_thr`` (0.8), ``iou_thr`` (0.8) and ``filter_low_score`` (False),
            and ``seen_penalty`` and ``background_threshold`` for labels of pixels (`SemanticRules`).
        data_preprocessor: As in mmdet, as is ``init_cfg``. In training it pads the masks (``pad_mask``) and, where they
            are there, label maps (``pad_seg``).
        init_cfg: Or None.

    Raises:
        ConfigError: As `MaskNaming.start_naming`; and if nothing is to be predicted.
    """

    def __init__(
        self,
        backbone: dict,
        mask_head: dict,
        text_bank: Any,
        neck: dict | None = None,
        regions: Any = None,
        fusion: Any = None,
        region_bank: Any = None,
        synonyms: Synonyms = 'ignore',
        ignore_index: int = IGNORE_INDEX,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super(SingleStageDetector, self).__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.mask_head = MODELS.build(mask_head)
        self.start_naming(self.mask_head, text_bank, regions, fusion, region_bank, synonyms)
        self.ignore_index = ignore_index
        self.test_cfg = dict(test_cfg or {})
        if not any(self._predicts(task) for task in ('instance', 'panoptic', 'semantic')):
            raise ConfigError('OVMaskDetector: test_cfg predicts nothing; set instance_on, panoptic_on or semantic_on.')

    def _predicts(self, task: str) -> bool:
        return bool(self.test_cfg.get(f'{task}_on', task == 'instance'))

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence[DetDataSample]) -> dict[str, Any]:
        """Losses of the mask head against ``gt_instances`` and, where it is there, the stuff of ``gt_sem_seg``.

        Labels index the attached vocabulary. Segments of unseen words belong to no mask.

        Raises:
            ConfigError: If masks don't cover the batch, or ``ignore_index`` is the label of a word or the background.
            DataError: If a label is neither a word, nor the background, nor, in a map, ``ignore_index``.
        """
        vocabulary = vocabulary_of(batch_data_samples)
        words = self.asked_words(vocabulary, batch_inputs.device).own
        is_thing_K = things_of(vocabulary, batch_inputs.device)
        truths = [self._truth(sample, is_thing_K, batch_inputs.shape[-2:]) for sample in batch_data_samples]
        sizes = [sample.metainfo['img_shape'][:2] for sample in batch_data_samples]
        features = self.extract_feat(batch_inputs)
        return self.mask_head.loss(features, truths, words, batch_inputs.shape[-2:], sizes)

    def _truth(self, sample: DetDataSample, is_thing_K: Tensor, size: Sequence[int]) -> InstanceData:
        if 'masks' not in sample.gt_instances:
            raise ConfigError('gt_instances of a picture has no masks; load them with with_mask=True.')
        truth = segments_of_instances(sample.gt_instances)
        _check_size('gt_instances.masks', truth.masks, size, 'pad_mask')
        if 'gt_sem_seg' not in sample:
            return truth
        labels_HW = sample.gt_sem_seg.sem_seg[0].long()
        _check_size('gt_sem_seg', labels_HW, size, 'pad_seg')
        check_labels(labels_HW, len(is_thing_K) + 1, self.ignore_index)
        return segments_of_panoptic(sample.gt_instances, labels_HW, is_thing_K, self.ignore_index)

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """``pred_instances``, ``pred_panoptic_seg`` and ``pred_sem_seg``, as `test_cfg` asks for them.

        Labels index the vocabulary of the samples, which stays in their metainfo. Pictures of different sizes are
        answered one size after the other, without the padding that the batch gave them.

        Args:
            batch_inputs: Normalised pictures (B, 3, H, W).
            batch_data_samples: Samples that carry the vocabulary, any K.
            rescale: Whether predictions are wanted at the original size.

        Raises:
            ConfigError: If a panoptic map is asked for more words than fit below 1000.
        """
        vocabulary = vocabulary_of(batch_data_samples)
        asked = self.asked_words(vocabulary, batch_inputs.device)
        is_thing_K = things_of(vocabulary, batch_inputs.device)
        pairs = zip(batch_inputs, batch_data_samples, strict=True)
        for places, images_B3HW in by_size([alone(*pair) for pair in pairs]):
            samples = [batch_data_samples[place] for place in places]
            sizes = [sample.metainfo['img_shape'][:2] for sample in samples]
            found = self.name_masks(self.mask_head, images_B3HW, asked, sizes)
            for sample, size, score_NK, mask_Nhw in zip(samples, sizes, *found, strict=True):
                height, width = size
                window = MaskWindow(slice(0, height), slice(0, width), mask_Nhw, images_B3HW.shape[-2:])
                frame = Frame(size, sample.metainfo['ori_shape'][:2] if rescale else size)
                self._decode(sample, score_NK, window, frame, asked.own.is_base_K, is_thing_K)
        return batch_data_samples

    def _decode(
        self,
        sample: DetDataSample,
        score_NK: Tensor,
        window: MaskWindow,
        frame: Frame,
        is_base_K: Tensor,
        is_thing_K: Tensor,
    ) -> None:
        settings = self.test_cfg
        if self._predicts('instance'):
            limit = settings.get('max_per_image', MAX_PER_IMAGE)
            words_NK = score_NK[:, : len(is_thing_K)]
            sample.pred_instances = instances(words_NK, window, frame, is_thing_K, limit)
        if self._predicts('panoptic'):
            given = {name: settings[name] for name in PanopticRules._fields if name in settings}
            found_HW = panoptic_map(score_NK, window, frame, is_thing_K, PanopticRules(**given))
            sample.pred_panoptic_seg = PixelData(sem_seg=found_HW[None])
        if self._predicts('semantic'):
            rules = SemanticRules(settings.get('seen_penalty', 0.0), settings.get('background_threshold'))
            maps = SemanticMaps(Strips([window], frame, 'original'), score_NK, is_base_K, rules)
            labels_1HW = maps.labels()[None]
            # mmdet's metrics and drawings read the one, mmseg's and ours the other.
            sample.pred_sem_seg = PixelData(sem_seg=labels_1HW, data=labels_1HW)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> tuple:
        """Embeddings (B, N, D) and masks (B, N, h, w)."""
        return tuple(self.mask_head.segments(self.extract_feat(batch_inputs), batch_inputs.shape[-2:]))


def _check_size(name: str, map_HW: Tensor, size: Sequence[int], switch: str) -> None:
    if tuple(map_HW.shape[-2:]) != tuple(size):
        raise ConfigError(
            f'{name} of a picture covers {tuple(map_HW.shape[-2:])} of the {tuple(size)} pixels of its batch; set '
            f'{switch}=True in the data_preprocessor.'
        )
