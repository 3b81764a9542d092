"""Count what captions speak of and write the pool of words that RegionCLIP's pre-training gives to regions.

python tools/concept_pool.py --captions data/cc3m/*.tar --min-count 100 --out data/cc3m/concepts.json
python tools/concept_pool.py --words names.txt --out concepts.json

The same captions give the same file, whatever the order of the files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vlm_dense.errors import VlmDenseError  # noqa: E402
from vlm_dense.text.caption_files import read_captions  # noqa: E402
from vlm_dense.text.concept_pool import ConceptCounter  # noqa: E402
from vlm_dense.text.vocabulary import Vocabulary  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='json file to write')
    parser.add_argument(
        '--captions', type=Path, nargs='+', default=[], help='.json (COCO), .jsonl (ODVG), .tar or lines'
    )
    parser.add_argument(
        '--words', nargs='+', default=[], help='lists whose words stay, however rare: files or data sets'
    )
    parser.add_argument('--unit', choices=('phrases', 'heads'), default='phrases', help="'large red dog' or 'dog'")
    parser.add_argument('--method', default='rules', help="of finding noun phrases: 'rules', 'spacy' or 'nltk'")
    parser.add_argument('--model', help='pipeline of spacy, or folder of data of nltk')
    parser.add_argument('--min-count', type=int, default=1, help='captions in which a word has to stand')
    parser.add_argument('--max-words', type=int, help='keep the most frequent')
    parser.add_argument('--blacklist', nargs='+', default=[], help='lists of words to leave out')
    args = parser.parse_args(arguments)
    if not args.captions and not args.words:
        parser.error('give --captions, --words or both')
    counter = ConceptCounter(args.unit, args.method, args.model)
    for path in args.captions:
        counter.add_captions(read_captions(path))
    for source in args.words:
        counter.add_words(Vocabulary.build(source).words)
    refused = [word for source in args.blacklist for word in Vocabulary.build(source).words]
    pool = counter.pool(args.min_count, refused, args.max_words)
    pool.write(args.out)
    print(f'{args.out}: {len(pool.words)} words of {pool.captions} captions')


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'{type(error).__name__}: {error}')
