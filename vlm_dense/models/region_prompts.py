"""Learned prompts trained on pictures of regions.

Shapes: B regions, S side of their pictures, K words, D width of the words.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from vlm_dense.models.requests import labels_of_regions, vocabulary_of
from vlm_dense.registry import MODELS
from vlm_dense.text.learned import LearnedPrompts, PromptLearner
from vlm_dense.vlms import FrozenTower, ImageTower


@MODELS.register_module()
class RegionPrompts(BaseModel):
    """Context vectors that learn to tell regions apart for a frozen image tower, by cross-entropy over the words.

    The first stage of ZSSeg (arXiv:2112.14757): the words of its masks are then embedded with these vectors. A sample
    shows one region, cut out by `vlm_dense.datasets.CutMaskedRegion`; its word is that of ``gt_instances.labels`` in
    the vocabulary, which all samples of a batch share. `vlm_dense.engine.SaveContextsHook` writes what a
    `vlm_dense.text.learned.LearnedPromptBank` reads; the checkpoint holds the vectors alone.

    Args:
        tower: An `ImageTower` that embeds pictures, or its config. It normalises the pictures itself.
        prompts: `LearnedPrompts`, or its config.
        temperature: Divides the cosines.
        data_preprocessor: mmdet's, without mean and deviation: the tower takes RGB values 0..255.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        tower: dict | ImageTower,
        prompts: dict | LearnedPrompts,
        temperature: float = 0.01,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.tower = FrozenTower(tower)
        self.learner = PromptLearner(prompts, temperature)

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement], mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[BaseDataElement] | Tensor:
        """mmengine's entry.

        Args:
            inputs: Pictures of regions (B, 3, S, S), values 0..255, RGB.
            data_samples: One per region.
            mode: 'loss'; 'predict' for ``pred_instances`` with the best word of every region and its probability; or
                'tensor' for logits (B, K).

        Raises:
            ConfigError: If the samples of a batch ask for different words, or the mode is unknown.
            DataError: If a sample does not bring one label.
        """
        words: Any = vocabulary_of(data_samples)
        with torch.no_grad():
            region_BD = self.tower.embed_images(self.tower.normalize(inputs))
        labels = labels_of_regions(data_samples) if mode == 'loss' else None
        found: Any = self.learner(region_BD, words, labels, mode)
        if mode != 'predict':
            return found
        scores_B, labels_B = found.max(dim=1)
        for sample, score_1, label_1 in zip(data_samples, scores_B.split(1), labels_B.split(1), strict=True):
            sample.set_data(dict(pred_instances=InstanceData(labels=label_1, scores=score_1)))
        return list(data_samples)
