"""Let a detector find the noun phrases of captions, and write what it found as ODVG lines to train on.

python tools/pseudo_grounding.py CONFIG CHECKPOINT --captions captions.json --pictures FOLDER --out pseudo.jsonl
torchrun --nproc_per_node 8 tools/pseudo_grounding.py CONFIG CHECKPOINT --shards 'cc3m-{00000..00331}.tar' ...

Captions are lines {"filename", "caption"} (.jsonl), COCO's captions, COCO's pictures with a caption each, or shards
below --pictures. A line is written for every caption with a box whose score exceeds --score (0.5: GLIP,
arXiv:2112.03857); how many have none is said at the end. A run that was killed goes on where it stopped, with any
number of processes; the parts stay in OUT.parts, which can be deleted afterwards.
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmengine.config import DictAction  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet: it serves mmcv's ops
from vlm_dense.errors import ConfigError, DataError, MissingFileError, VlmDenseError, VocabularyError  # noqa: E402
from vlm_dense.folders import whole_file  # noqa: E402

REMEDY = 'correct --captions and --pictures.'
SETTINGS = 'settings.json'
COUNTS = {
    'boxes': 'with boxes',
    'no_box': 'without a box above the score',
    'no_phrase': 'without a noun phrase',
    'damaged': 'whose picture or caption cannot be read',
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the detector')
    parser.add_argument('checkpoint', help="its weights; 'none' keeps what the config builds")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument('--captions', type=Path, metavar='FILE', help='captions of picture files')
    given.add_argument('--shards', nargs='+', metavar='NAME', help='WebDataset shards, numbers in braces')
    parser.add_argument('--pictures', type=Path, required=True, metavar='FOLDER', help='where pictures or shards are')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='the .jsonl to write')
    parser.add_argument('--score', type=float, default=0.5, help='boxes that score more are kept')
    parser.add_argument('--phrases', default='rules', help='how noun phrases are found: rules, spacy or nltk')
    parser.add_argument('--phrase-model', help='model of the tagger')
    parser.add_argument('--damaged', choices=('refuse', 'report'), default='refuse', help='report: count and go on')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings')
    parser.add_argument('--save-every', type=int, default=200, help='captions per part, and lost at most by a kill')
    args = parser.parse_args(arguments)
    if args.save_every < 1:
        parser.error('--save-every must be at least 1')
    label_captions(args)


def label_captions(args: argparse.Namespace) -> None:
    """Label this process's share of the captions, and join the parts where all are there."""
    from vlm_dense.apis import Finder
    from vlm_dense.engine.processes import place_among_processes

    rank, world_size, device = place_among_processes()
    captions = read_captions(args)
    starts = range(0, len(captions), args.save_every)
    parts = [Path(f'{args.out}.parts') / f'{start:010d}.json' for start in starts]
    agree_on_settings(args, parts[0].parent, captions)
    finder = None
    for start, part in list(zip(starts, parts, strict=True))[rank::world_size]:
        if part.is_file():
            continue
        if finder is None:
            checkpoint = None if args.checkpoint == 'none' else args.checkpoint
            finder = Finder(args.config, checkpoint, device, args.cfg_options)
        rows = range(start, min(start + args.save_every, len(captions)))
        with whole_file(part) as file:
            file.write_text(json.dumps(label_part(finder, captions, rows, args), ensure_ascii=False), encoding='utf-8')
    waiting = sum(not part.is_file() for part in parts)
    if waiting:
        print(f'process {rank + 1} of {world_size} is done; {waiting} of {len(parts)} parts are left to others')
    else:
        print(join(parts, args.out), flush=True)


class Captions:
    """File names below the folder of pictures, with captions."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = self.identity = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, row: int) -> tuple[str, str]:
        return self._pairs[row]


class ShardCaptions:
    """The same of shards, read where they are asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        from vlm_dense.datasets import CaptionShards

        self._folder = args.pictures
        # A stray half sample is counted when it is left out; which it is, the data set says.
        self._data = CaptionShards(args.shards, data_root=str(args.pictures), damaged=args.damaged)
        self.identity = [
            (shard, Path(shard).stat().st_size, Path(shard).stat().st_mtime_ns) for shard in self._data.shards
        ]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, row: int) -> tuple[str, str]:
        entry = self._data.get_data_info(row)
        shard, _, place_in_it = entry['img_path'].removeprefix('tar://').rpartition('#')
        return f'{Path(shard).relative_to(self._folder)}#{place_in_it}', entry['text']


def read_captions(args: argparse.Namespace) -> Any:
    """What is to be labelled, in order.

    Raises:
        MissingFileError: If a file is not there.
        DataError: If it holds no captions.
    """
    if args.shards:
        return ShardCaptions(args)
    path = args.captions
    if not path.is_file():
        raise MissingFileError(f'file of captions {path} does not exist; {REMEDY}')
    try:
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.jsonl':
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
            pairs = [(line['filename'], line['caption']) for line in lines]
        else:
            content = json.loads(text)
            names = {image['id']: image['file_name'] for image in content['images']}
            own = [(image['file_name'], image['caption']) for image in content['images'] if 'caption' in image]
            pairs = own or [(names[one['image_id']], one['caption']) for one in content['annotations']]
        if not pairs or not all(isinstance(part, str) and part.strip() for pair in pairs for part in pair):
            raise ValueError('a caption or a file name is empty, or there is none')
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path} is no file of captions ({type(error).__name__}: {error}); {REMEDY}') from error
    return Captions(pairs)


def agree_on_settings(args: argparse.Namespace, folder: Path, captions: Any) -> None:
    """Note what the parts are made of, and refuse to mix them with others.

    Raises:
        ConfigError: If parts of another run, or a result without parts, are in the way.
    """
    from vlm_dense.checkpoints.packages import file_sha256
    from vlm_dense.engine import read_config
    from vlm_dense.engine.protocol_runs.identity import hash_settings

    chosen = {
        'config': hash_settings(read_config(args.config, args.cfg_options).to_dict()),
        'checkpoint': args.checkpoint,
        'captions': hash_settings(captions.identity),
        'pictures': str(args.pictures),
        **{name: getattr(args, name) for name in ('score', 'phrases', 'phrase_model', 'damaged', 'save_every')},
    }
    if Path(args.checkpoint).is_file():
        chosen['checkpoint'] = file_sha256(Path(args.checkpoint))
    noted = folder / SETTINGS
    if noted.is_file():
        earlier = json.loads(noted.read_text(encoding='utf-8'))
        other = [name for name, value in chosen.items() if earlier.get(name) != value]
        if other:
            raise ConfigError(f'{folder} holds parts made with other {", ".join(other)}; delete it or change --out.')
        return
    if args.out.exists():
        raise ConfigError(f'{args.out} exists already; delete it or change --out.')
    with whole_file(noted) as file:
        file.write_text(json.dumps(chosen, indent=1), encoding='utf-8')


def label_part(finder: Any, captions: Any, rows: range, args: argparse.Namespace) -> dict[str, Any]:
    """ODVG lines of some captions, and how many captions were of which kind."""
    part: dict[str, Any] = {'lines': [], **dict.fromkeys(COUNTS, 0)}
    for row in rows:
        try:
            name, caption = captions[row]
            kind, line = labelled(finder, name, caption, args)
        except (DataError, MissingFileError):
            if args.damaged == 'refuse':
                raise
            kind, line = 'damaged', None
        part[kind] += 1
        if line is not None:
            part['lines'].append(line)
    return part


def labelled(finder: Any, name: str, caption: str, args: argparse.Namespace) -> tuple[str, dict[str, Any] | None]:
    """As `label`.

    Raises:
        DataError: If the caption is longer than the detector reads, or holds characters that no word may have.
    """
    try:
        return label(finder, name, caption, args)
    except VocabularyError as error:
        raise DataError(f'{name}: {error} --damaged report leaves such captions out and counts them.') from error


def label(finder: Any, name: str, caption: str, args: argparse.Namespace) -> tuple[str, dict[str, Any] | None]:
    """Which of `COUNTS` a caption is, and its ODVG line where it has boxes. Boxes have hundredths of a pixel.

    A phrase that stands at several places has all of them: the detector does not say which it found.
    """
    from vlm_dense.datasets.caption_rows import phrase_rows
    from vlm_dense.text.phrases import noun_phrases

    if not noun_phrases(caption, args.phrases, args.phrase_model):
        return 'no_phrase', None
    vocabulary, prompt = phrase_rows(caption, args.phrases, args.phrase_model)
    picture_HW3 = read(args.pictures, name)
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
    return ('boxes', line) if regions else ('no_box', None)


def read(folder: Path, name: str) -> Any:
    """A picture file or one in a shard, RGB uint8 (H, W, 3)."""
    from vlm_dense.apis import read_picture
    from vlm_dense.datasets.shards.members import SCHEME, picture_path, read_member

    path = picture_path(str(folder), name)
    return read_picture(io.BytesIO(read_member(path)) if path.startswith(SCHEME) else path)


def join(parts: Sequence[Path], out: Path) -> str:
    """Write the lines of all parts into one file, and say what became of the captions."""
    counts = dict.fromkeys(COUNTS, 0)
    with whole_file(out) as path, path.open('w', encoding='utf-8') as file:
        for part in parts:
            content = json.loads(part.read_text(encoding='utf-8'))
            file.writelines(json.dumps(line, ensure_ascii=False) + '\n' for line in content['lines'])
            counts = {kind: number + content[kind] for kind, number in counts.items()}
    said = ', '.join(f'{number} {COUNTS[kind]}' for kind, number in counts.items())
    return f'{out}: of {sum(counts.values())} captions {said}'


if __name__ == '__main__':
    try:
        main()
    except (VlmDenseError, FileNotFoundError) as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
