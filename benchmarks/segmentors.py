"""Segmentors that name masks, and LSeg: time and memory of a picture by the number of words, and where they go.

python benchmarks/segmentors.py
python benchmarks/segmentors.py --recipes san_vit_b16_cocostuff fcclip_convnext_l_coco --seconds 300
python benchmarks/segmentors.py --reread
python benchmarks/segmentors.py --device cuda --reread

The recipes of configs/ at full size with random weights, asked for the words of VOC (20), ADE20K (150) and ADE20K-full
(847, with their synonyms), every other word seen. The picture is noise of 480 x 640, resized as the recipe's test does
it, LSeg's to one of its six sizes, not mirrored. Every recipe runs in a process of its own on one thread, one picture
at a time, and two such processes go side by side, or one where a GPU does the work (``--device cuda``): then shares and
growth are of the clock's seconds and memory is what torch allocates there. Needs Linux, which tells and resets a
process's peak memory.

Random weights find no objects, but noise all over the picture: every box would be that of the whole. So the networks
run as they are, and what they found is replaced by as many discs of different sizes. A reader of crops embeds all empty
masks together: here none is, and all crops are checked to be embedded.

* s, cpu s: medians over rounds after a small picture that is not counted. In a round all numbers of words take their
  turn. Rounds go on until the recipe has used ``--seconds``; there is at least one.
* text, tower, masks, fusion: shares of the processor's time, or with a GPU of the clock's. Tower: the backbone and what
  reads regions, in SAN also CLIP's last blocks. Masks: pixel decoder and mask decoder, in LSeg the decoder of pixels.
  Fusion: all the rest, which is comparing with words, fusing scores and labelling pixels, in FC-CLIP instances and
  panoptic maps too. Text: looking up words that are encoded already. None may be encoded again, which is checked.
* peak MB: the highest resident set during a picture; + MB: beyond what the process held before.
* texts, words s: the texts of the recipe's prompts, which are encoded once per vocabulary and kept, and the processor's
  seconds for it: estimated from 64 texts of the median length through the recipe's text tower with random weights.

What crops show does not depend on words: readers of regions are not given any. Reading 100 crops takes most of the time
of ZegFormer, ZSSeg and OVSeg, so by default each of them reads them once, and its seconds count at every number of
words and its peak for each of them; ``--reread`` reads them every time, which takes about three times as long.

decoding: from the same masks and logits of 100 queries to labels of 480 x 640, by our decoding against mmseg's for SAN
(``SideAdapterCLIPHead.predict_by_feat``, ``BaseSegmentor.postprocess_result``), which makes all score maps, enlarges
them and takes the argmax. Labels must be equal wherever mmseg's two best scores differ by more than 1e-6.

The last line is JSON: ``growth`` is the processor's seconds at 847 words over those at 150, by recipe, or with
a GPU the clock's. On one thread they are the seconds of the clock where nothing else runs, and stay so where something
does.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from mask_decoding import compare_decoding
from segmentor_run import STAGES, measure

ROOT = Path(__file__).resolve().parents[1]
RECIPES = (  # the slowest first, so that two at a time end together
    'ovseg_swin_b_cocostuff',
    'lseg_vit_l16_ade20k',
    'fcclip_convnext_l_coco',
    'zegformer_r101_cocostuff',
    'zsseg_r101c_cocostuff',
    'san_vit_b16_cocostuff',
)
SECONDS, AT_ONCE = 40.0, 2


def in_process(*words: str) -> dict[str, Any]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': path}
    command = [sys.executable, '-W', 'ignore', __file__, *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def show(recipe: str, found: dict[str, Any]) -> float:
    """Print a recipe's rows; its growth."""
    print(f'{recipe}, short side {found["short"]}, rounds {found["rounds"]}')
    for size, row in found['rows'].items():
        texts, seconds = found['first'][size]
        shares = ''.join(f'{100 * row["shares"][name]:7.1f}%' for name in STAGES)
        print(
            f'{size:>7}{row["wall"]:9.2f}{row["cpu"]:9.2f}{shares}{row["peak"]:9.0f}{row["extra"]:9.0f}'
            f'{texts:9d}{seconds:9.1f}'
        )
    large, middle = found['rows']['847'], found['rows']['150']
    beside = (row['busy'] * (1 - row['shares']['tower']) for row in (large, middle))
    growth = large['busy'] / middle['busy']
    print(
        f'        growth {growth:.3f}, beside the tower {next(beside) / next(beside):.2f}, '
        f'by the clock on the wall {large["wall"] / middle["wall"]:.3f}',
        flush=True,
    )
    return round(growth, 3)


def main(recipes: Sequence[str], seconds: float, reread: bool, device: str) -> None:
    titles = ('s', 'cpu s', *STAGES, 'peak MB', '+ MB', 'texts', 'words s')
    print(f'{"words":>7}' + ''.join(f'{title:>{8 if title in STAGES else 9}}' for title in titles), flush=True)
    options = ['--seconds', str(seconds), '--device', device, *(['--reread'] if reread else [])]
    growth = {}
    with ThreadPoolExecutor(1 if device == 'cuda' else AT_ONCE) as pool:
        runs = {recipe: pool.submit(in_process, '--one', recipe, *options) for recipe in recipes}
        decoding = pool.submit(in_process, '--decoding', *options)
        for recipe, run in runs.items():
            growth[recipe] = show(recipe, run.result())
    unit = 's' if device == 'cuda' else 'cpu s'
    for size, row in decoding.result().items():
        ours, mmseg = (f'{row["seconds"][name]:.3f} {unit} +{row["extra"][name]:.0f} MB' for name in ('ours', 'mmseg'))
        ratio = row['seconds']['mmseg'] / row['seconds']['ours']
        print(
            f'decoding{size:>5} words  mmseg {mmseg}, ours {ours}, ratio {ratio:.2f}; '
            f'{row["unequal"]} labels differ, {row["ties"]} near ties'
        )
    print(json.dumps(dict(growth=growth)))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--recipes', nargs='+', default=RECIPES, help='names of configs/, without .py')
    parser.add_argument('--seconds', type=float, default=SECONDS, help='of a recipe, before its last round')
    parser.add_argument('--reread', action='store_true', help='read the crops for every number of words')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    parser.add_argument('--decoding', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one or args.decoding:
        import vlm_dense.models  # noqa: F401  before mmdet's and mmseg's: brings mmcv's operators

        torch.set_num_threads(1)
        one = args.one and measure(args.one, args.seconds, args.reread, args.device)
        print(json.dumps(one or compare_decoding(args.device)))
    else:
        main(args.recipes, args.seconds, args.reread, args.device)
