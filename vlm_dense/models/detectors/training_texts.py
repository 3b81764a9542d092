"""The texts of a training batch, and what is known of their tokens.

Shapes: B texts, G ground truths, K words of a prompt, L tokens, D width of a text bank.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from vlm_dense.errors import VocabularyError
from vlm_dense.models.grounding import TextWords
from vlm_dense.models.losses.text_keys import NO_KEY, token_keys
from vlm_dense.text.prompt_packing import Prompt
from vlm_dense.text.vocabulary import Vocabulary


class TrainingTexts(NamedTuple):
    """A text per picture, padded to the longest.

    Args:
        ids_BL: Token ids.
        words: Which words the tokens stand for.
        may_hide_BL: Boolean, tokens that masked language modelling may ask for: in a list of names those of the names
            that the picture shows, in a caption all (GLIPv2, arXiv:2206.05836, as released).
        word_BLD: As in `TextTokens`.
    """

    ids_BL: Tensor
    words: TextWords
    may_hide_BL: Tensor
    word_BLD: Tensor | None


def read_texts(
    samples: Sequence[DetDataSample],
    vocabularies: Sequence[Vocabulary],
    prompts: Sequence[Prompt],
    model: Any,
    text_bank: Any = None,
) -> TrainingTexts:
    """Tokens of every sample's prompt; puts ``positive_maps`` (G, L), 1 at the tokens of each object, on the samples.

    Args:
        samples: B samples with ``gt_instances``; one that brings its own ``prompt`` is a caption.
        vocabularies: What their labels index.
        prompts: What is read.
        model: The `TokenLanguageModel`.
        text_bank: Gives the words' rows, where they are wanted.

    Raises:
        VocabularyError: If a prompt is too long, or does not ask for the word of an object.
    """
    rows, maps, keys, may_hide, banked = [], [], [], [], []
    for sample, vocabulary, prompt in zip(samples, vocabularies, prompts, strict=True):
        tokens, is_word_KL = model.tokens(prompt)
        map_GL = _objects_tokens(sample, vocabulary, prompt, is_word_KL)
        rows.append(tokens.ids)
        maps.append(map_GL)
        keys.append(token_keys(prompt.phrases(), is_word_KL))
        may_hide.append((map_GL > 0).any(dim=0) if _is_list(sample) else map_GL.new_ones(map_GL.shape[1]).bool())
        if text_bank is not None:
            banked.append(token_rows(is_word_KL, text_bank(vocabulary)[list(prompt.rows)]))
    ids_BL = model.pad(rows)
    for sample, map_GL in zip(samples, maps, strict=True):
        sample.gt_instances.positive_maps = _wide(map_GL, ids_BL, 0)
    phrase_BL, may_hide_BL = (
        torch.stack([_wide(row_L, ids_BL, value) for row_L in found]).to(ids_BL.device)
        for found, value in ((keys, NO_KEY), (may_hide, False))
    )
    words = TextWords(phrase_BL, torch.tensor([_is_list(sample) for sample in samples], device=ids_BL.device))
    return TrainingTexts(ids_BL, words, may_hide_BL, pad_sequence(banked, batch_first=True) if banked else None)


def token_rows(is_word_KL: Tensor, word_KD: Tensor) -> Tensor:
    """(L, D): the row of the word that each token stands for, the first's where there are several, 0 where none."""
    row_LD = word_KD[is_word_KL.int().argmax(dim=0)]
    return row_LD * is_word_KL.any(dim=0)[:, None]


def _is_list(sample: DetDataSample) -> bool:
    return sample.get('prompt') is None


def _wide(rows: Tensor, ids_BL: Tensor, value: float) -> Tensor:
    return pad(rows, (0, ids_BL.shape[1] - rows.shape[-1]), value=value)


def _objects_tokens(sample: DetDataSample, vocabulary: Vocabulary, prompt: Prompt, is_word_KL: Tensor) -> Tensor:
    """(G, L) of 0 and 1: the tokens that name each object of a sample.

    A box that stands under several phrases of a caption has the tokens of all: else one of its copies would win all
    anchors, and teach them that the other phrases are wrong.
    """
    labels_G = sample.gt_instances.labels
    place_V = torch.full((len(vocabulary),), -1)
    place_V[list(prompt.rows)] = torch.arange(len(prompt.rows))
    place_G = place_V[labels_G.cpu()]
    if (place_G < 0).any():
        word = vocabulary.words[int(labels_G[(place_G < 0).nonzero()[0, 0]])]
        raise VocabularyError(
            f"{sample.get('img_path', 'a sample')} has an object '{word}' which its prompt does not ask for. Put the "
            'word into the prompt, or leave the object out.'
        )
    map_GL = is_word_KL[place_G].float().to(labels_G.device)
    if _is_list(sample):
        return map_GL
    boxes_G4 = get_box_tensor(sample.gt_instances.bboxes)
    is_same_GG = (boxes_G4[:, None] == boxes_G4).all(dim=2)
    return (is_same_GG.to(map_GL) @ map_GL).clamp_max(1)
