"""Let a detector find the noun phrases of captions, and write what it found as ODVG lines to train on.

python tools/pseudo_grounding.py CONFIG CHECKPOINT --captions captions.json --pictures FOLDER --out pseudo.jsonl
torchrun --nproc_per_node 8 tools/pseudo_grounding.py CONFIG CHECKPOINT --shards 'cc3m-{00000..00331}.tar' ...

Captions are lines {"filename", "caption"} (.jsonl), COCO's captions, COCO's pictures with a caption each, or shards
below --pictures. A line is written for every caption with a box whose score exceeds --score (0.5: GLIP,
arXiv:2112.03857); how many have none is said at the end. A run that was killed goes on where it stopped, with any
number of processes; the parts stay in OUT.parts, which can be deleted afterwards.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from caption_parts.captions import add_caption_options, read_captions, read_picture_of  # noqa: E402
from caption_parts.parts import Labeller, config_identity, file_identity, label_in_parts  # noqa: E402
from mmengine.config import DictAction  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet: it serves mmcv's ops
from vlm_dense.errors import DataError, VlmDenseError, VocabularyError  # noqa: E402

KINDS = {
    'boxes': 'with boxes',
    'no_box': 'without a box above the score',
    'no_phrase': 'without a noun phrase',
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the detector')
    parser.add_argument('checkpoint', help="its weights; 'none' keeps what the config builds")
    add_caption_options(parser)
    parser.add_argument('--score', type=float, default=0.5, help='boxes that score more are kept')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings')
    args = parser.parse_args(arguments)
    if args.save_every < 1:
        parser.error('--save-every must be at least 1')
    label_captions(args)


def label_captions(args: argparse.Namespace) -> None:
    """Label this process's share of the captions, and join the parts where all are there."""

    def labeller(device: str) -> Labeller:
        from vlm_dense.apis import Finder

        checkpoint = None if args.checkpoint == 'none' else args.checkpoint
        finder = Finder(args.config, checkpoint, device, args.cfg_options)
        return lambda name, caption: labelled(finder, name, caption, args)

    settings = {
        'config': config_identity(args.config, args.cfg_options),
        'checkpoint': file_identity(args.checkpoint),
        'score': args.score,
    }
    label_in_parts(args, read_captions(args), settings, KINDS, labeller)


def labelled(finder: Any, name: str, caption: str, args: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """As `label`.

    Raises:
        DataError: If the caption is longer than the detector reads, or holds characters that no word may have.
    """
    try:
        return label(finder, name, caption, args)
    except VocabularyError as error:
        raise DataError(f'{name}: {error} --damaged report leaves such captions out and counts them.') from error


def label(finder: Any, name: str, caption: str, args: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """Which of `KINDS` a caption is, and its ODVG line where it has boxes. Boxes have hundredths of a pixel.

    A phrase that stands at several places has all of them: the detector does not say which it found.
    """
    from vlm_dense.datasets.caption_rows import phrase_rows
    from vlm_dense.text.phrases import noun_phrases

    if not noun_phrases(caption, args.phrases, args.phrase_model):
        return 'no_phrase', []
    vocabulary, prompt = phrase_rows(caption, args.phrases, args.phrase_model)
    picture_HW3 = read_picture_of(args.pictures, name)
    found = finder.detect(picture_HW3, vocabulary.words, args.score, prompt)
    regions = [
        {
            'bbox': [round(float(number), 2) for number in box],
            'phrase': word,
            'tokens_positive': [list(span) for span in prompt.spans[vocabulary.index(word)]],
            'score': round(float(score), 4),
        }
        for word, box, score in zip(found.words, found.boxes_N4, found.scores_N, strict=True)
        if score > args.score
    ]
    height, width = picture_HW3.shape[:2]
    grounding = {'caption': caption, 'regions': regions}
    line = {'filename': name, 'height': height, 'width': width, 'grounding': grounding}
    return ('boxes', [line]) if regions else ('no_box', [])


if __name__ == '__main__':
    try:
        main()
    except (VlmDenseError, FileNotFoundError) as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
