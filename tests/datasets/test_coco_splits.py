"""The splits of COCO's 80 names that ship with the package."""

from vlm_dense.datasets import vocabulary_path
from vlm_dense.text.vocabulary import Vocabulary


def test_coco_65_15_is_a_split_of_coco():
    split = Vocabulary.from_file(vocabulary_path('coco_65_15'))
    assert sorted(split.words) == sorted(Vocabulary.from_dataset('coco').words)
    assert sum(split.is_base) == 65
    assert {'airplane', 'parking meter', 'hot dog', 'hair drier'} < set(split.select(is_base=False).words)
