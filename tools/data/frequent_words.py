"""Write a vocabulary whose base words are those on the most pictures of a folder of label maps.

python tools/data/frequent_words.py data/ade/ADE20K_2021_17_01/annotations_detectron2/training \
    --words vlm_dense/datasets/vocabularies/ade20k_847.json --base 572 \
    --out data/ade/ADE20K_2021_17_01/words_572_275.json

A map counts the words of --words from 0 on, as the maps of ADE20K-847 do; 65535 counts for nothing. Of words on equally
many pictures the first in the list comes first.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from vlm_dense.datasets.label_values import IGNORED_16_BIT  # noqa: E402
from vlm_dense.errors import DataError, MissingFileError, VlmDenseError  # noqa: E402
from vlm_dense.folders import whole_file  # noqa: E402
from vlm_dense.text.vocabulary import Vocabulary  # noqa: E402

SUFFIXES = ('.tif', '.png')


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('maps', type=Path, help='folder of label maps, .tif or .png, of 8 or 16 bits')
    parser.add_argument('--words', required=True, help='list of words that the maps count')
    parser.add_argument('--base', type=int, required=True, help='how many words are base')
    parser.add_argument('--out', type=Path, required=True, help='json file to write')
    args = parser.parse_args(arguments)
    words = Vocabulary.build(args.words)
    if not 0 < args.base < len(words):
        parser.error(f'--base must lie between 1 and {len(words) - 1}, one less than there are words')
    count_K = pictures_of_words(maps_in(args.maps), len(words))
    order_K = np.argsort(-count_K, kind='stable')
    is_base_K = np.zeros(len(words), bool)
    is_base_K[order_K[: args.base]] = True
    write(args.out, words, is_base_K, f'{args.words}; base are the {args.base} words on the most maps of {args.maps}.')
    least, most = count_K[is_base_K].min(), count_K[~is_base_K].max()
    print(f'{args.out}: {args.base} base words on {least} pictures or more, the others on {most} or fewer')


def maps_in(folder: Path) -> list[Path]:
    """The label maps of a folder, by name.

    Raises:
        MissingFileError: If there is none.
    """
    found = sorted(path for path in folder.glob('*') if path.suffix in SUFFIXES)
    if not found:
        raise MissingFileError(f'folder {folder} holds no .tif or .png; make them with tools/data/prepare.py --train.')
    return found


def pictures_of_words(paths: Sequence[Path], num_words: int) -> np.ndarray:
    """On how many maps each word stands, (K,).

    Raises:
        DataError: If a map holds a number that is no word.
    """
    count_V = np.zeros(IGNORED_16_BIT + 1, np.int64)
    for path, present in zip(paths, labels_of(paths), strict=True):
        wrong = present[(present >= num_words) & (present != IGNORED_16_BIT)]
        if len(wrong):
            raise DataError(f'label map {path} holds {wrong[0]}, but there are {num_words} words; correct --words.')
        count_V[present] += 1
    return count_V[:num_words]


def labels_of(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The distinct numbers of each map."""
    for path in paths:
        with Image.open(path) as picture:
            yield np.unique(np.asarray(picture))


def write(path: Path, words: Vocabulary, is_base_K: np.ndarray, source: str) -> None:
    """The words with their synonyms, and which of them are base."""
    base = [word for word, is_base in zip(words.words, is_base_K, strict=True) if is_base]
    content = {'source': source, **words.as_spec(), 'base': base}
    with whole_file(path) as file:
        file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'error: {" ".join(str(error).split())}')
