"""What the tower behind the backbone says about proposals.

Shapes: N regions, K words, D embedding width.
"""

from typing import Any

from mmdet.structures.bbox import bbox2roi
from mmengine.model import BaseModule
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.classifiers.score_fusion import ScoreFusion
from vlm_dense.models.requests import WordRows
from vlm_dense.registry import MODELS
from vlm_dense.vlms import TowerBackbone

# Powers of the frozen tower's score: F-VLM (arXiv:2209.15639), and the defaults of its release.
FVLM_BASE_POWER = 0.35
FVLM_NOVEL_POWER = 0.65


@MODELS.register_module()
class TowerRegionScorer(BaseModule):
    """Blends a detector's probabilities with those of its own frozen backbone, when testing.

    Regions are read from the backbone's last map, which the detector has made anyway, and go through the rest of the
    tower (`ImageTower.embed_regions`). The scorer holds no weights: they are the backbone's.

    Args:
        roi_extractor: Config of an mmdet RoI extractor on the backbone's last map.
        classifier: Config of the classifier of the tower's embeddings, without weights; where it has a background,
            that takes its part of the softmax and is dropped.
        base_power: Weight of the tower's scores on base words.
        novel_power: Weight of the tower's scores on the other words.

    Raises:
        ConfigError: If the classifier has weights, which nothing would train.
    """

    def __init__(
        self,
        roi_extractor: dict,
        classifier: dict,
        base_power: float = FVLM_BASE_POWER,
        novel_power: float = FVLM_NOVEL_POWER,
    ) -> None:
        super().__init__()
        self.roi_extractor: Any = MODELS.build(roi_extractor)
        self.classifier: Any = MODELS.build(classifier)
        self.fusion = ScoreFusion(base_power, novel_power, void='normalised')
        if next(self.classifier.parameters(), None) is not None:
            raise ConfigError(
                'TowerRegionScorer: its classifier has weights, but it is used at test alone; '
                "set background to None, 'zero' or dict(text=..., bank=...), and learn_temperature=False."
            )

    def embed(self, backbone: TowerBackbone, maps: tuple[Tensor, ...], boxes: list[Tensor]) -> Tensor:
        """The tower's embeddings of regions.

        Args:
            backbone: Made the maps; its tower has the layers after them.
            maps: All maps of the backbone.
            boxes: Per image (n, 4) xyxy px of the batch picture.

        Returns:
            (N, D) unit rows, images one after the other.
        """
        region_NChw = self.roi_extractor(maps[-1:], bbox2roi(boxes))
        return backbone.tower.embed_regions(region_NChw, backbone.out_indices[-1])

    def forward(self, detector_NK1: Tensor, region_ND: Tensor, words: WordRows) -> Tensor:
        """Scores (N, K) of every word; with the detector's background, which is left out, they sum to 1.

        Args:
            detector_NK1: The detector's probabilities, (N, K + 1), background last.
            region_ND: Of `embed`.
            words: Rows of the vocabulary.
        """
        text_KD, is_base_K = words
        # Logarithms of probabilities are logits of the same softmax.
        return self.fusion(detector_NK1.log(), self.classifier(region_ND, text_KD), None, is_base_K)
