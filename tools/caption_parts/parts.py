"""Labelling captions in parts that a kill leaves whole, by any number of processes."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caption_parts.captions import Captions, ShardCaptions

from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.folders import whole_file

SETTINGS = 'settings.json'
DAMAGED = {'damaged': 'whose picture or caption cannot be read'}

# Name of a picture and caption -> which kind the caption is, and the records to write.
Labeller = Callable[[str, str], tuple[str, list[dict[str, Any]]]]


def label_in_parts(
    args: argparse.Namespace,
    captions: Captions | ShardCaptions,
    settings: Mapping[str, Any],
    kinds: Mapping[str, str],
    labeller: Callable[[str], Labeller],
) -> None:
    """Label this process's share of the captions, and join the parts where all are there.

    Args:
        args: Of the command line, with the options of `add_caption_options`.
        captions: What to label.
        settings: What else the result depends on, plain values by name.
        kinds: What can become of a caption, with words for the report; `DAMAGED` is added.
        labeller: Makes the function that labels one caption, on a device; called where there is something left to do.

    Raises:
        ConfigError: If parts of another run, or a result without parts, are in the way.
        DataError: If a picture or caption cannot be read, unless ``args.damaged`` is 'report'.
        MissingFileError: As ``DataError``, if a picture is not there.
    """
    from vlm_dense.engine.processes import place_among_processes

    kinds = {**kinds, **DAMAGED}
    rank, world_size, device = place_among_processes()
    starts = range(0, len(captions), args.save_every)
    parts = [Path(f'{args.out}.parts') / f'{start:010d}.json' for start in starts]
    _agree(args, parts[0].parent, captions, settings)
    label = None
    for start, part in list(zip(starts, parts, strict=True))[rank::world_size]:
        if part.is_file():
            continue
        label = label or labeller(device)
        rows = range(start, min(start + args.save_every, len(captions)))
        content = _part(label, captions, rows, kinds, args.damaged)
        with whole_file(part) as file:
            file.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
    waiting = sum(not part.is_file() for part in parts)
    if waiting:
        print(f'process {rank + 1} of {world_size} is done; {waiting} of {len(parts)} parts are left to others')
    else:
        print(_join(parts, args.out, kinds), flush=True)


def file_identity(path: str | Path) -> str:
    """A file by its content, anything else by its name."""
    from vlm_dense.checkpoints.packages import file_sha256

    return file_sha256(Path(path)) if Path(path).is_file() else str(path)


def config_identity(path: str, options: dict | None = None) -> str:
    """A config by its settings."""
    from vlm_dense.engine import read_config
    from vlm_dense.engine.protocol_runs.identity import hash_settings

    return hash_settings(read_config(path, options).to_dict())


def _agree(args: argparse.Namespace, folder: Path, captions: Any, settings: Mapping[str, Any]) -> None:
    """Note what the parts are made of, and refuse to mix them with others."""
    from vlm_dense.engine.protocol_runs.identity import hash_settings

    chosen = {
        **settings,
        'captions': hash_settings(captions.identity),
        'pictures': str(args.pictures),
        **{name: getattr(args, name) for name in ('phrases', 'phrase_model', 'damaged', 'save_every')},
    }
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


def _part(label: Labeller, captions: Any, rows: range, kinds: Mapping[str, str], damaged: str) -> dict[str, Any]:
    """Records of some captions, and how many captions were of which kind."""
    part: dict[str, Any] = {'lines': [], **dict.fromkeys(kinds, 0)}
    for row in rows:
        try:
            kind, records = label(*captions[row])
        except (DataError, MissingFileError):
            if damaged == 'refuse':
                raise
            kind, records = 'damaged', []
        part[kind] += 1
        part['lines'] += records
    return part


def _join(parts: Sequence[Path], out: Path, kinds: Mapping[str, str]) -> str:
    """Write the lines of all parts into one file, and say what became of the captions."""
    counts, lines = dict.fromkeys(kinds, 0), 0
    with whole_file(out) as path, path.open('w', encoding='utf-8') as file:
        for part in parts:
            content = json.loads(part.read_text(encoding='utf-8'))
            file.writelines(json.dumps(line, ensure_ascii=False) + '\n' for line in content['lines'])
            lines += len(content['lines'])
            counts = {kind: number + content[kind] for kind, number in counts.items()}
    said = ', '.join(f'{number} {kinds[kind]}' for kind, number in counts.items())
    return f'{out}: {lines} lines; of {sum(counts.values())} captions {said}'
