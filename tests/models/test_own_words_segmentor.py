"""Pictures of one batch that ask for other words each."""

import pytest
import torch
from mmseg.structures import SegDataSample
from segmentation_parts import images, keep_scores, quadrants, samples, tiny_segmentor
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.segmentors import OVEncoderDecoder, OwnWordsSegmentor

WORDS = [['others', 'cat'], ['others', 'ship'], ['lamp', 'others']]


def own_words(kind: type = OwnWordsSegmentor, **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = tiny_segmentor(**changes)
    model.__class__ = kind
    return model.eval()


def asked(words: list[list[str]]) -> list[SegDataSample]:
    labels_BHW = quadrants(len(words), num_labels=2)
    return [samples(own, labels_BHW[row : row + 1])[0] for row, own in enumerate(words)]


@pytest.mark.parametrize('background', [None, 'learned'])
def test_the_loss_is_the_mean_of_what_every_picture_gets_alone(background: str | None) -> None:
    model = own_words(background=background)
    found = model.loss(images(3), asked(WORDS))
    alone = [
        own_words(OVEncoderDecoder, background=background).loss(images(3)[row : row + 1], [sample])
        for row, sample in enumerate(asked(WORDS))
    ]
    for name in ('decode.loss_ce', 'decode.acc_seg'):
        expected = torch.stack([one[name].reshape(()) for one in alone]).mean()
        torch.testing.assert_close(found[name].reshape(()), expected, rtol=1e-5, atol=1e-5)


def test_two_words_make_the_binary_cross_entropy() -> None:
    model = own_words()
    labels_BHW = quadrants(3, num_labels=2)
    keep_scores(model)
    with torch.no_grad():
        logits_BKHW = torch.stack([one.seg_logits.data for one in model.predict(images(3), asked(WORDS))])
    margin_BHW = (logits_BKHW[:, 1] - logits_BKHW[:, 0]).double()
    expected = functional.binary_cross_entropy_with_logits(margin_BHW, labels_BHW.double())
    # The head doubles its grid before it meets the labels; prediction enlarges through the same sizes.
    found = model.loss(images(3), asked(WORDS))['decode.loss_ce']
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_predictions_are_those_of_a_batch_of_one_and_keep_their_places() -> None:
    model = own_words()
    keep_scores(model)
    words = [WORDS[0], ['cat', 'dog', 'tree'], WORDS[2], WORDS[0]]
    with torch.no_grad():
        found = model.predict(images(4), asked(words))
        for row, sample in enumerate(asked(words)):
            (alone,) = model.predict(images(4)[row : row + 1], [sample])
            assert list(found[row].vocabulary.words) == words[row]
            torch.testing.assert_close(found[row].seg_logits.data, alone.seg_logits.data, rtol=1e-4, atol=1e-5)


def test_embedding_sees_the_whole_batch() -> None:
    """Batch norm would see one picture at a time if pictures were embedded one after the other."""
    model = own_words().train()
    norm = next(module for module in model.decode_head.modules() if isinstance(module, torch.nn.BatchNorm2d))
    sizes = []
    norm.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    model.loss(images(3), asked(WORDS))
    assert sizes == [3]


def test_unequal_numbers_of_words_are_told() -> None:
    with pytest.raises(ConfigError, match=r'samples 0 and 1 of one training batch bring 2 and 3 words; give all'):
        own_words().loss(images(2), asked([WORDS[0], ['cat', 'dog', 'tree']]))


def test_the_ordinary_segmentor_says_that_it_wants_one_vocabulary() -> None:
    with pytest.raises(ConfigError, match=r'ask for different vocabularies .*separate batches'):
        own_words(OVEncoderDecoder).predict(images(3), asked(WORDS))
