"""Data sets of two or three tiny pictures in the form of the official archives.

``write_<data set>(archives_dir)`` writes what the official archives of a data set hold, under their official names.
Data sets that nobody unpacks for the user have ``place_<data set>(root)``, which writes the prepared layout.
"""

from collections.abc import Callable
from pathlib import Path

from miniatures.boxes import (
    place_objects365_v1,
    place_objects365_v2,
    write_coco,
    write_coco_65_15,
    write_coco_panoptic,
    write_lvis_v1,
    write_voc2007,
)
from miniatures.episodes import write_coco20i, write_fss1000, write_pascal5i
from miniatures.maps import (
    place_ade20k_instance,
    place_ade20k_panoptic,
    write_ade20k_150,
    write_ade20k_847,
    write_cityscapes,
    write_coco_stuff,
    write_context59,
    write_context459,
    write_voc2012,
)
from miniatures.words import place_odinw, write_flickr30k, write_refcoco

WRITERS: dict[str, Callable[[Path], None]] = {
    'coco': write_coco,
    'ov_coco': write_coco,
    'coco_65_15': write_coco_65_15,
    'coco_panoptic': write_coco_panoptic,
    'lvis_v1': write_lvis_v1,
    'lvis_minival': write_lvis_v1,
    'voc2007': write_voc2007,
    'ade20k_150': write_ade20k_150,
    'ade20k_847': write_ade20k_847,
    'context59': write_context59,
    'context459': write_context459,
    'voc2012': write_voc2012,
    'cityscapes': write_cityscapes,
    'cocostuff171': write_coco_stuff,
    'coco_object': write_coco_stuff,
    'pascal5i': write_pascal5i,
    'coco20i': write_coco20i,
    'fss1000': write_fss1000,
    'flickr30k': write_flickr30k,
    'refcoco': write_refcoco,
}
PLACERS: dict[str, Callable[[Path], None]] = {
    'objects365_v1': place_objects365_v1,
    'objects365_v2': place_objects365_v2,
    'ade20k_panoptic': place_ade20k_panoptic,
    'ade20k_instance': place_ade20k_instance,
    'odinw13': lambda root: place_odinw(root, 'odinw13'),
    'odinw35': lambda root: place_odinw(root, 'odinw35'),
}


def provide(dataset: str, archives_dir: Path, root: Path) -> None:
    """Write the archives of a data set, or its layout below ``root`` where it has none."""
    if dataset in WRITERS:
        WRITERS[dataset](archives_dir)
    else:
        PLACERS[dataset](root)
