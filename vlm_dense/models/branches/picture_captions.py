"""Whole pictures learn their captions.

Source: RegionCLIP (arXiv:2112.09106), Sec. 3.2, Eq. of the image-text loss; CLIP (arXiv:2103.00020), Fig. 3. As in
RegionCLIP's release a picture is embedded as one region that covers it, by RoIAlign and the box head's pooling.
"""

from typing import Any, Literal

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.branches.base import Regions
from vlm_dense.models.losses import GatheredContrast, text_keys
from vlm_dense.registry import MODELS, build_part


@MODELS.register_module()
class PictureCaptions(BaseModule):
    """Symmetric contrast of pictures and captions, with those of all processes as negatives.

    A sample's caption is ``text`` in its metainfo, one or a list of which one is drawn at random, or that of its
    ``prompt``. Captions of equal text are positives of each other.

    Args:
        encoder: A frozen text encoder, or its config.
        temperature: Divides the cosines.
        weight: Factor of the loss.
        batch: Name of the batch that feeds the branch.
    """

    embedding: Literal['text', 'image'] = 'text'

    def __init__(
        self,
        encoder: Any,
        temperature: float = 0.01,
        weight: float = 1.0,
        batch: str = 'captions',
    ) -> None:
        super().__init__()
        # A plain attribute even where the encoder is a module: its weights are not this model's.
        self.__dict__['encoder'] = build_part(encoder)
        self.batch = batch
        self.contrast = GatheredContrast(1 / temperature, False, max(1 / temperature, 100.0), loss_weight=weight)

    def sample(self, proposals: list[InstanceData], data_samples: list[DetDataSample]) -> Regions:
        """One region per picture: all of it, without the padding."""
        sizes = [sample.img_shape[:2] for sample in data_samples]
        pairs = zip(proposals, sizes, strict=True)
        return Regions([found.bboxes.new_tensor([[0, 0, width, height]]) for found, (height, width) in pairs])

    def losses(
        self, region_ND: Tensor, regions: Regions, pictures_B3HW: Tensor, data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """``loss_caption``.

        Raises:
            ConfigError: If a sample has no caption.
        """
        texts = [_caption(sample) for sample in data_samples]
        text_BD = self.encoder.encode(texts).to(region_ND)
        keys_B = text_keys(texts).to(region_ND.device)
        return {'loss_caption': self.contrast(region_ND, text_BD, (keys_B, keys_B))}


def _caption(sample: DetDataSample) -> str:
    prompt = sample.get('prompt')
    given = sample.get('text', None if prompt is None else prompt.text)
    if isinstance(given, list | tuple) and given:
        given = given[int(torch.randint(len(given), ()))]
    if not isinstance(given, str) or not given.strip():
        raise ConfigError(
            f'{sample.get("img_path", "a sample")} brings no caption; give a data set with captions, such as '
            'vlm_dense.CaptionShards or vlm_dense.GroundingDataset.'
        )
    return given
