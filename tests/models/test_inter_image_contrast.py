"""The inter-image loss against loops over regions and tokens, alone and under data parallelism."""

import pytest
import torch
from gloo_parts import in_joined_processes
from torch import distributed, nn
from torch.nn.functional import normalize

from vlm_dense.models.grounding import TextTokens
from vlm_dense.models.losses.text_keys import NO_KEY, token_keys
from vlm_dense.registry import MODELS

ANCHORS, REGION, TEXT = 5, 6, 7
# Words of every picture's text, which are lists of words, and of every anchor the words that it belongs to.
WORDS = [['cat', 'red dog'], ['tree', 'cat', 'Cat'], ['red dog', 'a cat'], ['tree', 'cat']]
IS_LIST = [True, True, False, True]
BELONGS = [
    {0: [0], 2: [1], 3: [1]},
    {1: [1], 4: [0]},
    {0: [0, 1]},
    {},
]
LONG = 70  # More tokens than one integer has bits.


def make_loss(**settings):
    torch.manual_seed(3)
    found = MODELS.build(
        {'type': 'InterImageContrast', 'region_width': REGION, 'text_width': TEXT, 'width': 4, 'chunk': 5, **settings}
    )
    found.logit_scale.log.data.fill_(1.0)
    return found


def picture(number, length):
    """Features, positives, tokens and keys of one picture; every word has two tokens, the first and last have none."""
    generator = torch.Generator().manual_seed(number)
    region_NC, token_LC = (torch.randn(*size, generator=generator) for size in ((ANCHORS, REGION), (length, TEXT)))
    words = WORDS[number]
    # The last word stands at the end of a long text.
    places = [1 + 2 * place for place in range(len(words) - 1)] + [length - 3]
    is_word_KL = torch.zeros(len(words), length, dtype=torch.bool)
    for row, place in enumerate(places):
        is_word_KL[row, place : place + 2] = True
    positive_NL = torch.zeros(ANCHORS, length)
    for anchor, rows in BELONGS[number].items():
        positive_NL[anchor] = is_word_KL[rows].any(dim=0)
    return region_NC, positive_NL, token_LC, token_keys(words, is_word_KL)


def lengths(numbers):
    return [LONG if number == 1 else 9 + number for number in numbers]


def batch(numbers):
    longest = max(lengths(numbers))
    found = [picture(number, length) for number, length in zip(numbers, lengths(numbers), strict=True)]
    is_token_BL = torch.arange(longest) < torch.tensor(lengths(numbers))[:, None]

    def padded(part, value=0):
        return nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=value)

    positive_BNL = padded([one[1].T for one in found]).transpose(1, 2)
    token_BLC = padded([one[2] for one in found])
    text = TextTokens(torch.zeros_like(token_BLC), token_BLC, is_token_BL)
    keys_BL = padded([one[3] for one in found], NO_KEY)
    return torch.stack([one[0] for one in found]), positive_BNL, text, keys_BL, torch.tensor(IS_LIST)[numbers]


def kind_of_pair(region, token, with_keys):
    """'positive', 'negative' or 'neither' of (picture, positive_L, keys) and (picture, place, key)."""
    (picture_r, positive_L, keys_L), (picture_t, place, key) = region, token
    if picture_r == picture_t:
        return 'positive' if positive_L[place] else 'negative'
    if not with_keys or key == NO_KEY or key not in keys_L[positive_L > 0].tolist():
        return 'negative'
    return 'positive' if IS_LIST[picture_r] and IS_LIST[picture_t] else 'neither'


def by_loops(module, with_keys):
    regions, tokens, region_rows, token_rows = [], [], [], []
    for number, length in zip(range(4), lengths(range(4)), strict=True):
        region_NC, positive_NL, token_LC, keys_L = picture(number, length)
        for anchor in BELONGS[number]:
            regions.append((number, positive_NL[anchor], keys_L))
            region_rows.append(region_NC[anchor])
        tokens += [(number, place, int(key)) for place, key in enumerate(keys_L)]
        token_rows += list(token_LC)
    first = normalize(module.region_projection(torch.stack(region_rows)), dim=1)
    second = normalize(module.text_projection(torch.stack(token_rows)), dim=1)
    logits = module.logit_scale.log.exp() * first @ second.T
    kinds = [[kind_of_pair(region, token, with_keys) for token in tokens] for region in regions]
    positive = torch.tensor([[kind == 'positive' for kind in row] for row in kinds])
    neither = torch.tensor([[kind == 'neither' for kind in row] for row in kinds])
    total = 0
    for scores, wanted, dropped in ((logits, positive, neither), (logits.T, positive.T, neither.T)):
        log_p = scores.masked_fill(dropped, -1e9).log_softmax(dim=1)
        total = total - sum(log_p[row][wanted[row]].mean() for row in range(len(scores)) if wanted[row].any())
    return total / 2 / len(regions)


def _in_part(rank, split, with_keys):
    module = make_loss()
    joined = nn.parallel.DistributedDataParallel(module) if distributed.is_initialized() else module
    region_BNC, positive_BNL, text, keys_BL, is_list_B = batch(split[rank])
    extra = (keys_BL, is_list_B) if with_keys else ()
    value = joined(region_BNC, positive_BNL, text, *extra)['loss']
    value.backward()
    return value.detach(), [parameter.grad for parameter in module.parameters()]


@pytest.mark.parametrize('with_keys', [True, False])
@pytest.mark.parametrize('split', [[[0, 1, 2, 3]], [[0, 1, 2], [3]], [[0], [3, 1, 2]]])
def test_equals_loops_over_all_pairs(split, with_keys):
    module = make_loss()
    expected = by_loops(module, with_keys)
    expected.backward()
    parts = [_in_part(0, split, with_keys)] if len(split) == 1 else in_joined_processes(_in_part, split, with_keys)
    torch.testing.assert_close(sum(part[0] for part in parts) / len(parts), expected.detach(), atol=1e-6, rtol=1e-6)
    for _, gradients in parts:
        torch.testing.assert_close(gradients, [one.grad for one in module.parameters()], atol=1e-5, rtol=1e-5)


def test_at_most_so_many_regions_of_a_picture_are_drawn():
    region_BNC, positive_BNL, text, *_ = batch([0])
    # Three anchors of one kind: whichever is drawn, its loss is that of one anchor alone.
    region_BNC[0, :3], positive_BNL[0, :3], positive_BNL[0, 3:] = region_BNC[0, 0], positive_BNL[0, 0], 0
    module = make_loss(max_regions=1)
    drawn = module(region_BNC, positive_BNL, text)['loss']
    positive_BNL[0, 1:] = 0
    alone = module(region_BNC, positive_BNL, text)['loss']
    # The divisor stays the number of all positive anchors.
    torch.testing.assert_close(3 * drawn, alone)


def test_no_positive_region_is_zero_and_keeps_the_graph():
    module = make_loss(loss_weight=2.0)
    region_BNC, positive_BNL, text, *extra = batch([3])
    value = module(region_BNC, positive_BNL, text, *extra)['loss']
    value.backward()
    assert value.item() == 0
    assert all(parameter.grad.abs().sum() == 0 for parameter in module.parameters())
