"""Captions with their pictures, from files and from shards."""

import argparse
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm_dense.errors import DataError, MissingFileError

REMEDY = 'correct --captions and --pictures.'


def add_caption_options(parser: argparse.ArgumentParser) -> None:
    """Where captions and pictures are, and how nouns are found in captions."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument('--captions', type=Path, metavar='FILE', help='captions of picture files')
    given.add_argument('--shards', nargs='+', metavar='NAME', help='WebDataset shards, numbers in braces')
    parser.add_argument('--pictures', type=Path, required=True, metavar='FOLDER', help='where pictures or shards are')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='the .jsonl to write')
    parser.add_argument('--phrases', default='rules', help='how noun phrases are found: rules, spacy or nltk')
    parser.add_argument('--phrase-model', help='model of the tagger')
    parser.add_argument('--damaged', choices=('refuse', 'report'), default='refuse', help='report: count and go on')
    parser.add_argument('--save-every', type=int, default=200, help='captions per part, and lost at most by a kill')


class Captions:
    """File names below the folder of pictures, with captions."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = self.identity = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, row: int) -> tuple[str, str]:
        return self._pairs[row]

    def first(self, count: int) -> 'Captions':
        """At most so many captions of each picture, the first ones of the file."""
        seen: Counter[str] = Counter()
        kept = []
        for name, caption in self._pairs:
            seen[name] += 1
            if seen[name] <= count:
                kept.append((name, caption))
        return Captions(kept)


class ShardCaptions:
    """The same of shards, read where they are asked for; every picture has one caption."""

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


def read_captions(args: argparse.Namespace) -> Captions | ShardCaptions:
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


def read_picture_of(folder: Path, name: str) -> Any:
    """A picture file or one in a shard, RGB uint8 (H, W, 3).

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it cannot be read.
    """
    from vlm_dense.apis import read_picture
    from vlm_dense.datasets.shards.members import SCHEME, picture_path, read_member

    path = picture_path(str(folder), name)
    return read_picture(io.BytesIO(read_member(path)) if path.startswith(SCHEME) else path)
