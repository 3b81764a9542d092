"""One word per training picture, present or absent, drawn from the words that come with the batch.

Shapes: B images, J different words of the batch, H W pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vlm_dense.models.decode_heads.ov_decode_head import stack_labels
from vlm_dense.models.requests import vocabularies_of
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.text.word_checks import normalise_word


class DrawnWords(NamedTuple):
    """What a batch is asked for.

    Args:
        words: One per picture.
        targets_BHW: int64: 1 where the word applies, 0 where not, ``ignore_index`` where nothing is known.
    """

    words: list[str]
    targets_BHW: Tensor


def draw_words(data_samples: Sequence, negatives: float, ignore_index: int) -> DrawnWords:
    """Draw a word for each picture, by torch's random numbers.

    With probability ``negatives``, or where its labels name no word, a picture gets a word of the batch that it lacks;
    else, or where it lacks none, one of those in its labels. All words in question are equally likely.

    Args:
        data_samples: Each with ``gt_sem_seg`` and, in its metainfo, the ``vocabulary`` that its labels index. Other
            labels than words and ``ignore_index`` mean that no word applies.
        negatives: Probability.
        ignore_index: Label of pixels that count for nothing.

    Raises:
        ConfigError: If a sample carries no vocabulary.
    """
    words, places = _joint_places(vocabularies_of(data_samples))
    labels_BHW = stack_labels(data_samples)
    present_BJ = torch.zeros(len(data_samples), len(words), dtype=torch.bool)
    for row, (labels_HW, place_K) in enumerate(zip(labels_BHW, places, strict=True)):
        found = labels_HW.unique().cpu()
        present_BJ[row, place_K[found[(found >= 0) & (found < len(place_K)) & (found != ignore_index)]]] = True
    is_negative_B = (torch.rand(len(data_samples)) < negatives) & ~present_BJ.all(1) | ~present_BJ.any(1)
    drawn_B = torch.multinomial((present_BJ ^ is_negative_B[:, None]).float(), 1)[:, 0]
    targets_BHW = torch.zeros_like(labels_BHW)
    for row, place_K in enumerate(places):
        for label in (place_K == drawn_B[row]).nonzero().flatten().tolist():  # none for another picture's word
            targets_BHW[row] = (labels_BHW[row] == label).long()
    targets_BHW[labels_BHW == ignore_index] = ignore_index
    return DrawnWords([words[index] for index in drawn_B.tolist()], targets_BHW)


def _joint_places(vocabularies: Sequence[Vocabulary]) -> tuple[list[str], list[Tensor]]:
    """All different words of a batch, and for every sample the places (K,) of its own among them."""
    joint: dict[str, int] = {}
    words: list[str] = []
    known: dict[int, Tensor] = {}
    for vocabulary in vocabularies:
        if id(vocabulary) not in known:
            keys = [normalise_word(word) for word in vocabulary.words]
            for key, word in zip(keys, vocabulary.words, strict=True):
                if joint.setdefault(key, len(joint)) == len(words):
                    words.append(word)
            known[id(vocabulary)] = torch.tensor([joint[key] for key in keys])
    return words, [known[id(vocabulary)] for vocabulary in vocabularies]
