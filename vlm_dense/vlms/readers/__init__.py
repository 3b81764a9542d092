"""How each family of open_clip's image models is read."""

from typing import Any

from vlm_dense.vlms.readers.clip_resnet import ResnetReader
from vlm_dense.vlms.readers.clip_vit import TransformerReader
from vlm_dense.vlms.readers.reader import Reader, input_side
from vlm_dense.vlms.readers.timm_trunk import TrunkReader
from vlm_dense.vlms.readers.timm_vit import TimmVitReader
from vlm_dense.vlms.timm_vit import is_timm_vit

__all__ = ['Reader', 'ResnetReader', 'TimmVitReader', 'TransformerReader', 'TrunkReader', 'input_side', 'reader_of']


def reader_of(visual: Any, name: str) -> Reader:
    """The reader of a model.

    Args:
        visual: The picture half of an open_clip model.
        name: Of its architecture, for messages.
    """
    from open_clip.modified_resnet import ModifiedResNet  # open_clip takes seconds to import
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, ModifiedResNet):
        return ResnetReader(name)
    if isinstance(visual, VisionTransformer):
        return TransformerReader(name)
    if not isinstance(visual, TimmModel):
        return Reader(name)
    return TimmVitReader(name) if is_timm_vit(visual.trunk) else TrunkReader(name)
