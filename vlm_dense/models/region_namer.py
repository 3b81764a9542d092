"""A tower that names regions shown to it one at a time, and learns to from regions with words.

Shapes: B regions, S side of their pictures, K words, D width of the words.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from vlm_dense.errors import DataError
from vlm_dense.models.losses import text_keys
from vlm_dense.models.requests import labels_of_regions, vocabularies_of, vocabulary_of
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.drawn_prompts import rows_of_words
from vlm_dense.vlms.tower import ImageTower
from vlm_dense.vlms.tuning import set_modes


@MODELS.register_module()
class RegionNamer(BaseModel):
    """Tunes an image tower on pictures of regions and their words; the words' encoder stays as it is.

    OVSeg (arXiv:2210.04150) tunes CLIP so, on masks that were matched with nouns of captions: first the whole image
    encoder, then, with `vlm_dense.vlms.MaskPromptedTower`, the mask tokens alone. The loss is CLIP's symmetric one
    (arXiv:2103.00020, Fig. 3) with the regions and words of all processes.

    A batch may hold a word twice, and its regions are then no negatives of each other's word: texts that are equal but
    for letter case are one set of positives, see `vlm_dense.models.losses.GatheredContrast`. Synonyms are negatives.

    What learns is what the tower lets learn; the rest stays in eval mode. The checkpoint holds the whole tower, under
    ``tower``, and is a file of ``pretrained`` weights for `OpenClipTower` and `MaskPromptedTower`. A sample shows one
    region, cut out by `vlm_dense.datasets.CutMaskedRegion`: what of the picture is inside is ``gt_instances.masks``,
    and its word that of ``gt_instances.labels`` in the sample's own vocabulary.

    Args:
        tower: An `ImageTower` that embeds pictures, or its config. It normalises the pictures itself.
        text_bank: Words to rows: ``vlm_dense.TextBank``, or ``vlm_dense.DrawnPromptBank`` to train in templates drawn
            at random.
        loss: A `GatheredContrast` or its config. Predictions use its scale too.
        data_preprocessor: mmdet's, without mean and deviation: the tower takes RGB values 0..255.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        tower: dict | ImageTower,
        text_bank: Any,
        loss: Any,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.tower: ImageTower = build_part(tower)
        self.text_bank = build_part(text_bank)
        self.contrast = build_part(loss)

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; what is frozen of the tower stays in eval mode."""
        super().train(mode)
        set_modes(self.tower, mode)
        return self

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement], mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[BaseDataElement] | Tensor:
        """mmengine's entry: 'loss', 'predict', or 'tensor' for unit rows (B, D)."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.predict(inputs, data_samples) if mode == 'predict' else self.embed(inputs, data_samples)

    def embed(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]) -> Tensor:
        """Regions to unit rows (B, D).

        Args:
            inputs: Pictures of regions (B, 3, S, S), values 0..255, RGB.
            data_samples: With the region's mask, which only a tower that takes masks reads.

        Raises:
            DataError: If a sample does not bring one mask of the pictures' size.
        """
        images_B3SS = self.tower.normalize(inputs)
        extra = (_inside(inputs, data_samples),) if self.tower.takes_masks else ()
        return self.tower.embed_images(images_B3SS, *extra)

    def loss(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """``loss_contrast`` of regions and their words.

        Raises:
            ConfigError: If a sample carries no vocabulary.
            DataError: If a sample does not bring one label, or as in `embed`.
        """
        words = _own_words(data_samples)
        region_BD = self.embed(inputs, data_samples)
        text_BD = rows_of_words(self.text_bank, words).to(region_BD)
        keys_B = text_keys(words).to(region_BD.device)
        return {'loss_contrast': self.contrast(region_BD, text_BD, (keys_B, keys_B))}

    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]) -> list[BaseDataElement]:
        """The best of the request's words for every region: ``pred_instances`` with one label and its probability.

        Raises:
            ConfigError: If no vocabulary came with the samples, or different ones.
        """
        vocabulary = vocabulary_of(data_samples)
        region_BD = self.embed(inputs, data_samples)
        text_KD = self.text_bank(vocabulary).to(region_BD)
        scores_B, labels_B = (self.contrast.logit_scale() * region_BD @ text_KD.t()).softmax(dim=1).max(dim=1)
        for sample, score_1, label_1 in zip(data_samples, scores_B.split(1), labels_B.split(1), strict=True):
            sample.set_data(dict(pred_instances=InstanceData(labels=label_1, scores=score_1)))
        return list(data_samples)


def _inside(inputs: Tensor, data_samples: Sequence[BaseDataElement]) -> Tensor:
    """What of each picture belongs to its region, (B, S, S) booleans."""
    masks = [sample.gt_instances.get('masks') for sample in data_samples]
    size = tuple(inputs.shape[-2:])
    for sample, mask in zip(data_samples, masks, strict=True):
        if mask is None or mask.masks.shape != (1, *size):
            raise DataError(
                f'{sample.get("img_path", "a sample")} does not bring one mask of {size[0]} x {size[1]} pixels; put '
                'vlm_dense.CutMaskedRegion into the pipeline.'
            )
    return torch.cat([mask.to_tensor(torch.bool, inputs.device) for mask in masks])


def _own_words(data_samples: Sequence[BaseDataElement]) -> list[str]:
    asked = zip(vocabularies_of(data_samples), labels_of_regions(data_samples), strict=True)
    return [vocabulary.words[label] for vocabulary, label in asked]
