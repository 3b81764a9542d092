"""``vlm-dense bank``: build text banks ahead of time, list, inspect and clear them."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlm_dense.cli.encoders import ENCODERS, encoder_config
from vlm_dense.cli.tables import table
from vlm_dense.errors import ConfigError, MissingFileError, VocabularyError

DAY = 86400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The four actions and their arguments."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='action')
    build = actions.add_parser('build', help='encode a vocabulary, or what is new in it')
    build.add_argument('vocabulary', help='a .txt, .json or .csv file, or the name of a data set such as lvis_v1')
    source = build.add_mutually_exclusive_group(required=True)
    source.add_argument('--encoder', help=ENCODERS)
    source.add_argument('--config', help="a recipe: its model's text bank")
    build.add_argument('--prompt', help='name of a prompt set or a template (default: single)')
    build.add_argument('--averaging', help='how the texts of a word become one row')
    build.add_argument('--synonyms', choices=('ignore', 'mean'), help="what becomes of a word's other names")
    build.add_argument('--dtype', help='float32, float16 or bfloat16')
    listing = actions.add_parser('list', help='what is in the cache')
    inspect = actions.add_parser('inspect', help='what a bank holds: its words, near duplicates, neighbours')
    inspect.add_argument('bank', help='a file, or the beginning of an id that `list` shows')
    inspect.add_argument('--nearest', metavar='WORD', action='append', default=[], help='show the words nearest to it')
    inspect.add_argument('--top', type=int, default=10, help='how many neighbours or duplicates (default: 10)')
    inspect.add_argument('--alike', type=float, default=0.98, help='cosine from which rows are near duplicates')
    clear = actions.add_parser('clear', help='remove banks')
    clear.add_argument('--older-than', type=float, metavar='DAYS', help='only those not read for so long')
    clear.add_argument('--encoder', metavar='TEXT', help='only those whose encoder holds this text')
    for action in (build, listing, inspect, clear):
        action.add_argument('--cache', type=Path, help='folder of the banks (default: $VLM_DENSE_CACHE/text)')


def run(args: argparse.Namespace) -> int:
    """Do one action."""
    actions: dict[str, Callable[[argparse.Namespace], None]] = dict(
        build=_build, list=_list, inspect=_inspect, clear=_clear
    )
    actions[args.action](args)
    return 0


def _build(args: argparse.Namespace) -> None:
    from vlm_dense.registry import MODELS
    from vlm_dense.text import TextBank, Vocabulary

    vocabulary = Vocabulary.build(args.vocabulary)
    config = (
        _bank_of_config(args.config)
        if args.config
        else dict(type='vlm_dense.TextBank', encoder=encoder_config(args.encoder))
    )
    given = {name: getattr(args, name) for name in ('prompt', 'averaging', 'synonyms', 'dtype')}
    config |= {name: value for name, value in given.items() if value is not None}
    config |= dict(cache_dir=str(args.cache)) if args.cache else {}
    bank: TextBank = MODELS.build(config)
    if bank.cache_dir is None:
        raise ConfigError(f'{args.config}: its bank has cache_dir=None, so nothing would be kept. Give --cache DIR.')
    started = time.time()
    text_KD = bank(vocabulary)
    print(f'{len(text_KD)} words x {text_KD.shape[1]} {text_KD.dtype}, {time.time() - started:.1f} s')
    print(bank.cache_file(vocabulary))


def _bank_of_config(path: str) -> dict[str, Any]:
    from vlm_dense.engine import read_config

    model = read_config(path).get('model', {})
    bank = model.get('text_bank')
    if bank is None:
        raise ConfigError(f'{path} has no model.text_bank. Give --encoder instead: {ENCODERS}.')
    return dict(bank.to_dict())


def _list(args: argparse.Namespace) -> None:
    from vlm_dense.text.cache import read_rows
    from vlm_dense.text.row_store import bank_files

    root = _cache(args)
    rows = [('bank', 'words', 'width', 'type', 'MB', 'read', 'prompt', 'encoder')]
    total = 0
    for path in reversed(bank_files(root)):
        stored, size = read_rows(path), path.stat().st_size
        total += size
        if stored is None:
            rows.append((_identity(path), '-', '-', 'DAMAGED', f'{size / 1e6:.1f}', '', '', ''))
            continue
        words, width = stored.text_KD.shape
        kind, read = str(stored.text_KD.dtype).removeprefix('torch.'), _ago(path)
        meta = stored.metadata
        texts = (_short(meta.get('prompt', ''), 24), _short(meta.get('encoder', ''), 48))
        rows.append((_identity(path), str(words), str(width), kind, f'{size / 1e6:.1f}', read, *texts))
    for line in table(rows):
        print(line)
    print(f'{len(rows) - 1} banks, {total / 1e6:.1f} MB in {root}')


def _inspect(args: argparse.Namespace) -> None:
    from vlm_dense.text.cache import read_rows
    from vlm_dense.text.neighbours import near_duplicates, nearest

    path = _find(args)
    stored = read_rows(path)
    if stored is None:
        raise MissingFileError(f"'{path}' is damaged; the next use of its words makes it again. Remove it.")
    names = json.loads(stored.metadata.get('names', '[]'))
    print(f'{path}\n{len(names)} words x {stored.text_KD.shape[1]} {stored.text_KD.dtype}')
    for key in ('encoder', 'prompt', 'averaging'):
        print(f'{key}: {stored.metadata.get(key, "unknown")}')
    print(f'first words: {_short(", ".join(names), 200)}')
    pairs = near_duplicates(stored.text_KD, args.alike)
    print(f'{len(pairs)} pair(s) of words with a cosine of {args.alike} or more')
    for first, second, cosine in pairs[: args.top]:
        print(f'  {cosine:.3f}  {names[first]} | {names[second]}')
    for word in args.nearest:
        if word not in names:
            raise VocabularyError(f"'{word}' is not in this bank of {len(names)} words. Build one that holds it.")
        print(f'nearest to {word}:')
        for row, cosine in nearest(stored.text_KD, names.index(word), args.top):
            print(f'  {cosine:.3f}  {names[row]}')


def _clear(args: argparse.Namespace) -> None:
    from vlm_dense.text.cache import read_unchecked
    from vlm_dense.text.row_store import bank_files

    removed = freed = 0
    for path in bank_files(_cache(args)):
        is_old = args.older_than is None or path.stat().st_mtime < time.time() - args.older_than * DAY
        stored = read_unchecked(path)
        encoder = '' if stored is None else stored.metadata.get('encoder', '')
        is_named = args.encoder is None or args.encoder in encoder
        if is_old and is_named:
            freed += path.stat().st_size
            path.unlink()
            removed += 1
    print(f'removed {removed} banks, {freed / 1e6:.1f} MB, from {_cache(args)}')


def _cache(args: argparse.Namespace) -> Path:
    from vlm_dense.text.cache import banks_folder

    folder = banks_folder('default' if args.cache is None else str(args.cache))
    assert folder is not None
    return folder


def _find(args: argparse.Namespace) -> Path:
    from vlm_dense.text.row_store import bank_files

    if Path(args.bank).is_file():
        return Path(args.bank)
    found = [path for path in bank_files(_cache(args)) if _identity(path).startswith(args.bank)]
    if len(found) != 1:
        raise MissingFileError(
            f"'{args.bank}' is no file and {len(found)} banks in '{_cache(args)}' begin so. See `vlm-dense bank list`."
        )
    return found[0]


def _identity(path: Path) -> str:
    return f'{path.parent.name[:8]}/{path.stem[:13]}'


def _ago(path: Path) -> str:
    days = (time.time() - path.stat().st_mtime) / DAY
    return 'today' if days < 1 else f'{days:.0f} d ago'


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f'{text[: width - 3]}...'
