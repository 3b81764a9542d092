"""Masks shown to a frozen tower as pictures of their own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vlm_dense.models.regions.region_reader import CLIP_LOGIT_SCALE, RegionReader, RegionRows
from vlm_dense.registry import MODELS
from vlm_dense.vlms import FrozenTower, ImageTower, MaskedCrops
from vlm_dense.vlms.masked_crops import Style


@MODELS.register_module()
class CropReader(RegionReader):
    """Crops of the pictures, masked or not, through a tower beside the model.

    ZSSeg (arXiv:2112.14757) and OVSeg (arXiv:2210.04150) embed 'crop_and_mask', and ZegFormer (arXiv:2112.07910)
    compares the styles. The tower is frozen, in eval mode and in no checkpoint of the model. A `MaskPromptedTower` is
    given the masks too.

    Args:
        tower: An image tower that embeds pictures, or its config.
        style: As in `MaskedCrops`.
        threshold: As there.
        outside: As there.
        chunk: As there.
        logit_scale: Multiplies the cosines of rows and words.

    Raises:
        ConfigError: As `MaskedCrops`; and if ``logit_scale`` is not above 0.
    """

    def __init__(
        self,
        tower: dict | ImageTower,
        style: Style = 'crop_and_mask',
        threshold: float = 0.5,
        outside: Sequence[float] | None = None,
        chunk: int = 32,
        logit_scale: float = CLIP_LOGIT_SCALE,
    ) -> None:
        super().__init__(logit_scale)
        self.tower = FrozenTower(tower)
        self.crops = MaskedCrops(style, threshold, outside=outside, chunk=chunk)

    def forward(
        self,
        pictures_B3HW: Tensor,
        backbone: Any,
        features: Sequence[Any],
        mask_BNhw: Tensor,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> RegionRows:
        """Read every mask; backbone and features are not looked at. Arguments as in `RegionReader`.

        Raises:
            DataError: If pictures, masks and sizes differ in number.
        """
        region_MD, empty_M = self.crops(self.tower, pictures_B3HW, list(mask_BNhw), image_sizes)
        counts = mask_BNhw.shape[:2]
        return RegionRows(region_MD.unflatten(0, counts), empty_M.unflatten(0, counts))
