"""A normalised batch as the pictures that it was made of."""

from typing import Any

from torch import Tensor


def pictures_of(images_B3HW: Tensor, preprocessor: Any) -> Tensor:
    """Undo a model's normalisation: RGB, 0..255.

    mm pictures are loaded as BGR, so a preprocessor that converts channels holds RGB.

    Args:
        images_B3HW: What the preprocessor gave.
        preprocessor: mmdet's or mmseg's data preprocessor, or the one for named batches that wraps it.
    """
    single = getattr(preprocessor, 'data_preprocessor', preprocessor)
    if getattr(single, '_enable_normalize', False):
        images_B3HW = images_B3HW * single.std + single.mean
    # mmengine's class and mmseg's name the same switch differently.
    is_rgb = single.channel_conversion if hasattr(single, 'channel_conversion') else single._channel_conversion
    return images_B3HW if is_rgb else images_B3HW.flip(1)
