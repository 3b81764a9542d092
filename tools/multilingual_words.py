"""Which languages an encoder reads: the Tux Paint stamps have captions in about 100 of them.

python tools/multilingual_words.py --encoder pair
python tools/multilingual_words.py --encoder open_clip:xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k

For every language with captions for enough stamps, in percent:

* text: captions whose nearest English caption is that of the same stamp (100 for English, by construction),
* photo: photographs whose nearest caption is their own,
* same: captions whose embedding equals that of another one; the encoder cannot tell them apart, mostly because it does
  not know the script.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vlm_dense.cli.encoders import ENCODERS, encoder_config, tower_config  # noqa: E402
from vlm_dense.errors import VlmDenseError  # noqa: E402

ENOUGH = 80  # captions; of 161
SAME = 0.9999  # cosine
GREY = 127


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--encoder', default='pair', help=ENCODERS)
    parser.add_argument('--out', type=Path, help='also write the figures as json')
    args = parser.parse_args()

    import torch

    from vlm_dense.datasets.pictures.captions import ENGLISH
    from vlm_dense.registry import MODELS
    from vlm_dense.text import TextBank

    captions, photos = stamps()
    bank = TextBank(encoder_config(args.encoder), '{}')
    tower = tower_config(args.encoder)
    with torch.no_grad():
        photo_ND = None if tower is None else embed_photos(MODELS.build(tower), photos)
    figures = {}
    for language in languages(captions):
        rows = distinct([caption.get(language) for caption in captions])
        figures[language] = measure(bank, captions, rows, language, ENGLISH, photo_ND)
    show(figures)
    if args.out:
        args.out.write_text(json.dumps(dict(encoder=args.encoder, languages=figures), indent=1), encoding='utf-8')


def stamps() -> tuple[list[dict[str, str]], list[Path]]:
    """Captions and picture of one stamp per name."""
    from vlm_dense.datasets.pictures.captions import caption_file, read_captions
    from vlm_dense.datasets.pictures.debian import fetch_photographs, read_list

    folder = fetch_photographs() / 'stamps'
    first = {row['name']: row['stamp'] for row in reversed(read_list('stamps.csv'))}
    captions = [read_captions((folder / caption_file(s)).read_text(encoding='utf-8')) for s in first.values()]
    return captions, [folder / stamp for stamp in first.values()]


def languages(captions: Sequence[dict[str, str]]) -> list[str]:
    """Languages with enough captions that differ."""
    known = sorted({language for caption in captions for language in caption})
    return [name for name in known if len(distinct([caption.get(name) for caption in captions])) >= ENOUGH]


def distinct(captions: Sequence[str | None]) -> list[int]:
    """Indices of the captions that are there and are not an earlier one again."""
    from vlm_dense.text.vocabulary import normalise_word

    first: dict[str, int] = {}
    for index, caption in enumerate(captions):
        if caption:
            first.setdefault(normalise_word(caption), index)
    return list(first.values())


def measure(bank, captions, rows, language, english, photo_ND) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """The figures of one language over the stamps ``rows``."""
    import torch

    from vlm_dense.text import Vocabulary

    # Two stamps may share their English caption: the first one stands for both.
    english_rows = distinct([captions[row][english] for row in rows])
    rows = [rows[index] for index in english_rows]
    text_KD = bank(Vocabulary.from_words([captions[row][language] for row in rows]))
    english_KD = bank(Vocabulary.from_words([captions[row][english] for row in rows]))
    own = torch.arange(len(rows))
    cosine_KK = text_KD @ text_KD.T - 2 * torch.eye(len(rows))
    figures = dict(
        captions=len(rows),
        text=_percent((text_KD @ english_KD.T).argmax(1) == own),
        same=_percent(cosine_KK.amax(1) > SAME),
    )
    if photo_ND is not None:
        figures['photo'] = _percent((photo_ND[rows] @ text_KD.T).argmax(1) == own)
    return figures


def embed_photos(tower, photos: Sequence[Path]):  # type: ignore[no-untyped-def]
    """Unit rows (N, D) of the cut-outs on grey, filling a square."""
    import torch

    tower.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (tower.mean, tower.std))
    squares = (on_grey(path, tower.input_size) for path in photos)
    return torch.cat([tower.embed_images(((square - mean) / std)[None]) for square in squares])


def on_grey(path: Path, side: int):  # type: ignore[no-untyped-def]
    """A stamp as (3, side, side), RGB in [0, 255], its longer side filling the square."""
    import numpy as np
    import torch
    from PIL import Image

    from vlm_dense.datasets.pictures.cutouts import trim

    with Image.open(path) as photo:
        cut = Image.fromarray(trim(photo.convert('RGBA')))
    scale = side / max(cut.size)
    cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.BICUBIC)
    square = Image.new('RGBA', (side, side), (GREY, GREY, GREY, 255))
    square.alpha_composite(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return torch.from_numpy(np.array(square.convert('RGB'))).permute(2, 0, 1).float()


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print a line per language, best first."""
    print(f'{"language":14}{"captions":>10}{"text %":>10}{"photo %":>10}{"same %":>10}')
    for language, row in sorted(figures.items(), key=lambda item: -item[1]['text']):
        photo = f'{row["photo"]:10.1f}' if 'photo' in row else f'{"-":>10}'
        print(f'{language:14}{row["captions"]:10}{row["text"]:10.1f}{photo}{row["same"]:10.1f}')


def _percent(flags) -> float:  # type: ignore[no-untyped-def]
    return round(100 * flags.float().mean().item(), 1)


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'{type(error).__name__}: {error}')
