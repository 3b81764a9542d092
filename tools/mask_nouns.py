"""Match the nouns of captions with masks of their pictures, and write the pairs as lines to tune a tower on.

python tools/mask_nouns.py configs/ovseg_vit_l14_pairs.py --segmentor CONFIG CHECKPOINT \\
    --captions captions_train2017.json --pictures train2017 --out mask_nouns_train2017.jsonl
python tools/mask_nouns.py configs/ovseg_vit_l14_pairs.py --masks instances.json --captions ...

The first config names the tower and the words that match, as they are before training. Every noun gets the mask whose
crop, with the outside hidden, is most like it (OVSeg, arXiv:2210.04150); a mask may have several nouns. One caption of
a picture is read, the first, unless --captions-each says more. Captions are lines {"filename", "caption"} (.jsonl),
COCO's captions, COCO's pictures with a caption each, or shards below --pictures.

Lines are {"filename", "height", "width", "noun", "caption", "segmentation", "score"}: the mask as COCO's RLE, the
cosine of crop and noun. A run that was killed goes on where it stopped, with any number of processes (torchrun); the
parts stay in OUT.parts, which can be deleted afterwards.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from caption_parts.captions import Captions, add_caption_options, read_captions, read_picture_of  # noqa: E402
from caption_parts.masks import SegmentorMasks, StoredMasks, encoded  # noqa: E402
from caption_parts.parts import Labeller, config_identity, file_identity, label_in_parts  # noqa: E402
from mmengine.config import DictAction  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet: it serves mmcv's ops
from vlm_dense.errors import ConfigError, DataError, VlmDenseError, VocabularyError  # noqa: E402

KINDS = {
    'pairs': 'with pairs',
    'no_noun': 'without a noun',
    'no_mask': 'whose picture has no mask',
    'no_match': 'without a mask above the score',
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a vlm_dense.RegionNamer: tower and words that match')
    masks = parser.add_mutually_exclusive_group(required=True)
    masks.add_argument(
        '--segmentor', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help="masks of a model; 'none': as built"
    )
    masks.add_argument('--masks', type=Path, metavar='FILE', help="masks of a file in COCO's layout")
    add_caption_options(parser)
    parser.add_argument('--captions-each', type=int, default=1, help='captions of a picture to read, the first ones')
    parser.add_argument('--unit', choices=('heads', 'phrases'), default='heads', help="'dog' or 'large red dog'")
    parser.add_argument('--score', type=float, default=-1.0, help='pairs with a larger cosine are kept')
    parser.add_argument('--threshold', type=float, default=0.5, help="probability of a segmentor's pixels inside")
    parser.add_argument('--style', default='crop_and_mask', help='how crops are shown: crop, mask or crop_and_mask')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings')
    args = parser.parse_args(arguments)
    if min(args.save_every, args.captions_each) < 1:
        parser.error('--save-every and --captions-each must be at least 1')
    if not 0 < args.threshold < 1:
        parser.error('--threshold must lie between 0 and 1')
    captions = read_captions(args)
    captions = captions.first(args.captions_each) if isinstance(captions, Captions) else captions
    label_in_parts(args, captions, settings_of(args), KINDS, lambda device: labeller(args, device))


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the pairs depend on, beside captions and pictures."""
    named = {name: getattr(args, name) for name in ('captions_each', 'unit', 'score', 'threshold', 'style')}
    if args.masks:
        source = {'masks': file_identity(args.masks)}
    else:
        config, checkpoint = args.segmentor
        source = {'segmentor': config_identity(config), 'checkpoint': file_identity(checkpoint)}
    return {'config': config_identity(args.config, args.cfg_options), **source, **named}


def labeller(args: argparse.Namespace, device: str) -> Labeller:
    """The function that makes pairs of one caption."""
    if args.masks:
        masks: Any = StoredMasks(args.masks, device)
    else:
        config, checkpoint = args.segmentor
        masks = SegmentorMasks(config, None if checkpoint == 'none' else checkpoint, device, args.threshold)
    matcher = Matcher(args, device)
    return lambda name, caption: pairs(matcher, masks, name, caption, args)


class Matcher:
    """Finds the mask of each noun with a tower and words.

    Args:
        args: Of the command line.
        device: Where the tower works.

    Raises:
        ConfigError: If the config is not of a ``RegionNamer``.
    """

    def __init__(self, args: argparse.Namespace, device: str) -> None:
        from mmengine.registry import init_default_scope

        from vlm_dense.engine import check_config, read_config
        from vlm_dense.models import RegionNamer
        from vlm_dense.registry import MODELS
        from vlm_dense.vlms import MaskedCrops

        config = read_config(args.config, args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmdet'))
        check_config(config)
        model = MODELS.build(config.model)
        if not isinstance(model, RegionNamer):
            raise ConfigError(
                f'the model of {args.config} is {type(model).__name__}; give the config of a RegionNamer.'
            )
        self._tower, self._bank = model.tower.to(device).eval(), model.text_bank
        # Each caption would leave a file in the cache; rows are kept below, one by one.
        getattr(self._bank, 'bank', self._bank).cache_dir = None
        self._rows: dict[str, Any] = {}
        self._crops, self._device = MaskedCrops(args.style), device

    def __call__(self, picture_HW3: Any, inside_NHW: Any, nouns: Sequence[str]) -> tuple[list[float], list[int]]:
        """For every noun the cosine and the number of its mask.

        Args:
            picture_HW3: RGB, uint8.
            inside_NHW: Boolean masks, at least one.
            nouns: At least one.

        Raises:
            VocabularyError: If a noun is longer than the encoder reads, or cannot be a word.
        """
        import torch

        text_KD = self._embed(nouns)
        with torch.inference_mode():
            picture_13HW = torch.from_numpy(picture_HW3.copy()).permute(2, 0, 1)[None].to(self._device)
            region_ND, _ = self._crops(self._tower, picture_13HW, [inside_NHW])
            best_K, mask_K = (text_KD.to(region_ND) @ region_ND.t()).max(dim=1)
        return best_K.tolist(), mask_K.tolist()

    def _embed(self, nouns: Sequence[str]) -> Any:
        import torch

        from vlm_dense.text.vocabulary import Vocabulary

        missing = [noun for noun in nouns if noun not in self._rows]
        if missing:
            self._rows.update(zip(missing, self._bank(Vocabulary.from_words(missing)), strict=True))
        return torch.stack([self._rows[noun] for noun in nouns])


def pairs(
    matcher: Matcher, masks: Any, name: str, caption: str, args: argparse.Namespace
) -> tuple[str, list[dict[str, Any]]]:
    """Which of `KINDS` a caption is, and a line for each of its nouns that has a mask.

    Raises:
        DataError: If a noun is longer than the encoder reads, or holds characters that no word may have.
    """
    from vlm_dense.text.concept_pool import caption_nouns

    nouns = caption_nouns(caption, args.unit, args.phrases, args.phrase_model)
    if not nouns:
        return 'no_noun', []
    picture_HW3 = read_picture_of(args.pictures, name)
    inside_NHW = masks(name, picture_HW3)
    if not len(inside_NHW):
        return 'no_mask', []
    try:
        scores, numbers = matcher(picture_HW3, inside_NHW, nouns)
    except VocabularyError as error:
        raise DataError(f'{name}: {error} --damaged report leaves such captions out and counts them.') from error
    height, width = picture_HW3.shape[:2]
    lines = [
        {
            'filename': name,
            'height': height,
            'width': width,
            'noun': noun,
            'caption': caption,
            'segmentation': encoded(inside_NHW[number]),
            'score': round(score, 4),
        }
        for noun, score, number in zip(nouns, scores, numbers, strict=True)
        if score > args.score
    ]
    return ('pairs', lines) if lines else ('no_match', [])


if __name__ == '__main__':
    try:
        main()
    except (VlmDenseError, FileNotFoundError) as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
