"""Words of known data sets, taken from the installed mmdet and mmseg when they are asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vlm_dense.errors import VocabularyError
from vlm_dense.text.word_checks import ending, printable
from vlm_dense.text.word_table import WordTable

MMDET_NAMES = 'mmdet.evaluation.functional.class_names'
V3DET_FILE = 'category_name_13204_v3det_2023_v1.txt'


@dataclass(frozen=True)
class _Origin:
    """Where a list stands: a class with METAINFO, or a function that returns names.

    Args:
        module: Import path.
        attribute: The class or function.
        version: Argument of the class method ``set_dataset_classes``, for classes without names of their own.
    """

    module: str
    attribute: str
    version: str | None = None

    def names(self) -> tuple[Sequence[str], Sequence[str]]:
        """Names and, where they are told apart, the names of things."""
        origin: Any = getattr(import_module(self.module), self.attribute)
        if not isinstance(origin, type):
            return origin(), ()
        if self.version is not None:
            # The method writes to the class it is called on: mmdet's own stays as it is.
            origin = type(self.attribute, (origin,), {})
            origin.set_dataset_classes(self.version)
        return origin.METAINFO['classes'], origin.METAINFO.get('thing_classes', ())


def _mmdet(module: str, attribute: str, version: str | None = None) -> _Origin:
    return _Origin(f'mmdet.datasets.{module}', attribute, version)


def _mmseg(module: str, attribute: str) -> _Origin:
    return _Origin(f'mmseg.datasets.{module}', attribute)


DATASETS = {
    'coco': _mmdet('coco', 'CocoDataset'),
    'coco_panoptic': _mmdet('coco_panoptic', 'CocoPanopticDataset'),
    'coco_stuff': _mmseg('coco_stuff', 'COCOStuffDataset'),
    'lvis_v05': _mmdet('lvis', 'LVISV05Dataset'),
    'lvis_v1': _mmdet('lvis', 'LVISV1Dataset'),
    'objects365_v1': _mmdet('objects365', 'Objects365V1Dataset'),
    'objects365_v2': _mmdet('objects365', 'Objects365V2Dataset'),
    'openimages_v6': _Origin(MMDET_NAMES, 'oid_v6_classes'),
    'openimages_challenge': _Origin(MMDET_NAMES, 'oid_challenge_classes'),
    'voc': _mmdet('voc', 'VOCDataset'),
    'voc_seg': _mmseg('voc', 'PascalVOCDataset'),
    'ade20k': _mmseg('ade', 'ADE20KDataset'),
    'ade20k_panoptic': _mmdet('ade20k', 'ADE20KPanopticDataset'),
    'ade20k_instance': _mmdet('ade20k', 'ADE20KInstanceDataset'),
    'cityscapes': _mmseg('cityscapes', 'CityscapesDataset'),
    'cityscapes_det': _mmdet('cityscapes', 'CityscapesDataset'),
    'pascal_context_59': _mmseg('pascal_context', 'PascalContextDataset59'),
    'pascal_context_60': _mmseg('pascal_context', 'PascalContextDataset'),
    'mapillary_v1': _mmseg('mapillary', 'MapillaryDataset_v1'),
    'mapillary_v2': _mmseg('mapillary', 'MapillaryDataset_v2'),
    'bdd100k': _mmseg('bdd100k', 'BDD100KDataset'),
    'imagenet_det': _Origin(MMDET_NAMES, 'imagenet_det_classes'),
    'imagenet_vid': _Origin(MMDET_NAMES, 'imagenet_vid_classes'),
    'youtube_vis_2019': _mmdet('youtube_vis_dataset', 'YouTubeVISDataset', '2019'),
    'youtube_vis_2021': _mmdet('youtube_vis_dataset', 'YouTubeVISDataset', '2021'),
    'mot_challenge': _mmdet('mot_challenge_dataset', 'MOTChallengeDataset'),
    'crowdhuman': _mmdet('crowdhuman', 'CrowdHumanDataset'),
    'wider_face': _mmdet('wider_face', 'WIDERFaceDataset'),
    'deepfashion': _mmdet('deepfashion', 'DeepFashionDataset'),
    'lip': _mmseg('lip', 'LIPDataset'),
    'isaid': _mmseg('isaid', 'iSAIDDataset'),
    'loveda': _mmseg('loveda', 'LoveDADataset'),
    'potsdam': _mmseg('potsdam', 'PotsdamDataset'),
    'vaihingen': _mmseg('isprs', 'ISPRSDataset'),
    'levir': _mmseg('levir', 'LEVIRCDDataset'),
    'synapse': _mmseg('synapse', 'SynapseDataset'),
    'refuge': _mmseg('refuge', 'REFUGEDataset'),
    'stare': _mmseg('stare', 'STAREDataset'),
    'drive': _mmseg('drive', 'DRIVEDataset'),
    'hrf': _mmseg('hrf', 'HRFDataset'),
    'chase_db1': _mmseg('chase_db1', 'ChaseDB1Dataset'),
}

# Other spellings; a family's bare name is its newest list, and for Pascal Context the list without 'background'.
ALIASES = {
    'mscoco': 'coco',
    'panoptic': 'coco_panoptic',
    'coco_stuff_164k': 'coco_stuff',
    'coco_stuff_10k': 'coco_stuff',
    'coco_semantic': 'coco_stuff',
    'lvis': 'lvis_v1',
    'objects365': 'objects365_v2',
    'obj365': 'objects365_v2',
    'obj365_v1': 'objects365_v1',
    'obj365_v2': 'objects365_v2',
    'openimages': 'openimages_v6',
    'oid_v6': 'openimages_v6',
    'oid_challenge': 'openimages_challenge',
    'pascal_voc': 'voc',
    'voc07': 'voc',
    'voc12': 'voc',
    'voc2007': 'voc',
    'voc2012': 'voc',
    'voc_20': 'voc',
    'voc_seg_20': 'voc',
    'voc_21': 'voc_seg',
    'voc_seg_21': 'voc_seg',
    'ade': 'ade20k',
    'ade20k_150': 'ade20k',
    'cityscapes_seg': 'cityscapes',
    'pascal_context': 'pascal_context_59',
    'pc59': 'pascal_context_59',
    'pc60': 'pascal_context_60',
    'isprs': 'vaihingen',
}
_SEPARATORS = re.compile(r'[\W_]+')
_BY_KEY = {_SEPARATORS.sub('', name): key for name, key in {**{key: key for key in DATASETS}, **ALIASES}.items()}


def is_dataset(name: str) -> bool:
    """Whether `read_dataset` has an answer for a name; case, '-', '_', '.' and spaces do not count."""
    return _key(name) in _BY_KEY or _is_v3det(name)


def read_dataset(name: str) -> WordTable:
    """The words of a data set in its own order and spelling, and which are things where mmdet tells.

    mmdet and mmseg hold neither synonyms nor LVIS's frequencies: `read_vocabulary_file` takes those from LVIS's
    annotations.

    Raises:
        VocabularyError: If nobody knows the name, or the installed mmdet or mmseg lacks the list.
    """
    if not isinstance(name, str):
        raise VocabularyError(f"a data set's name is a string, not {name!r}. Write one such as 'coco'.")
    if _is_v3det(name):
        raise VocabularyError(
            f"mmdet reads the words of V3Det from the data set's own file. Name that file: "
            f"dict(file='.../annotations/{V3DET_FILE}', dedupe=True); 45 of its 13,204 names repeat others."
        )
    key = _BY_KEY.get(_key(name))
    if key is None:
        raise VocabularyError(
            f"no data set is called '{printable(name)}'{suggest_dataset(name)} Known are {', '.join(DATASETS)}."
        )
    origin = DATASETS[key]
    try:
        names, things = origin.names()
    except (ImportError, AttributeError) as error:
        package = {'mmdet': 'mmdet', 'mmseg': 'mmsegmentation'}[origin.module.split('.')[0]]
        raise VocabularyError(
            f"the words of '{key}' stand in {origin.module} ({origin.attribute}), which the installed {package} cannot "
            f'give: {error}. Install or upgrade {package}, or name a file of words.'
        ) from error
    is_thing = [word in set(things) for word in names] if things else ()
    return WordTable(key, tuple(names), is_thing=is_thing)


def suggest_dataset(name: str) -> str:
    """The end of a sentence about an unknown data set: a full stop, or a similar name as a question."""
    return ending(printable(name).casefold(), [*DATASETS, *ALIASES])


def _key(name: str) -> str:
    return _SEPARATORS.sub('', name.casefold())


def _is_v3det(name: str) -> bool:
    return re.fullmatch('v3det(2023)?(v1)?', _key(name)) is not None
