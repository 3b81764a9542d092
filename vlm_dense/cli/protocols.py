"""``vlm-dense protocols``: what ``tools/test.py --protocol`` can measure."""

import argparse
from textwrap import indent, wrap

WIDTH = 112


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One optional name."""
    parser.add_argument('name', nargs='?', help='tell everything about this protocol')


def run(args: argparse.Namespace) -> int:
    """Print one line per protocol, or one protocol in full; 0.

    Raises:
        ConfigError: If there is no protocol of that name.
    """
    from vlm_dense.cli.tables import table
    from vlm_dense.evaluation.protocols import PROTOCOLS, find_protocol

    if args.name is None:
        rows = [(name, protocol.kind, protocol.title) for name, protocol in PROTOCOLS.items()]
        print('\n'.join(table(rows)))
        return 0
    protocol = find_protocol(args.name)
    print(protocol.title)
    for label, text in (
        ('pictures', protocol.split),
        ('counted', protocol.cap),
        ('first', ', '.join(protocol.headline)),
        ('source', protocol.source),
        ('data', f'python tools/data/prepare.py {protocol.data}'),
    ):
        print(indent('\n'.join(wrap(f'{label + ":":10}{text}', WIDTH, subsequent_indent=' ' * 10)), '  '))
    return 0
