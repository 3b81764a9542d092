"""What a data set needs to know about a vocabulary spec."""

from collections.abc import Mapping
from typing import Any

from vlm_dense.text.vocabulary import Vocabulary


def whole_vocabulary(spec: Any) -> Vocabulary:
    """The vocabulary before ``only='base'`` or ``only='novel'`` took a part of it.

    Annotation files and label maps name the whole list even where a data set is asked for a part.

    Args:
        spec: Anything ``Vocabulary.build`` accepts.
    """
    if isinstance(spec, Mapping):
        spec = {key: value for key, value in spec.items() if key != 'only'}
    return Vocabulary.build(spec)
