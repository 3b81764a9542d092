"""The command ``vlm-dense``. A new sub-command is one line in ``COMMANDS``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from vlm_dense import __version__
from vlm_dense.errors import VlmDenseError


class Command(NamedTuple):
    """A sub-command: its module offers ``add_arguments(parser)`` and ``run(args) -> exit code``.

    Args:
        module: Import path.
        summary: One line of help.
        user_error: Exit code after a user's error; 2 where 1 is one of the command's answers.
    """

    module: str
    summary: str
    user_error: int = 1


COMMANDS = {
    'bank': Command('vlm_dense.cli.bank', 'text banks: build, list, inspect, clear'),
    'data': Command('vlm_dense.cli.data', 'find everything that is wrong with annotations', user_error=2),
    'env': Command('vlm_dense.cli.env', 'versions, kernels of the ops, what is missing and what to do about it'),
    'fetch': Command('vlm_dense.cli.fetch', 'download weights once; models find them on this machine'),
    'protocols': Command('vlm_dense.cli.protocols', 'what tools/test.py --protocol can measure'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: Words behind ``vlm-dense``; those of the process by default.

    Returns:
        Exit code: 0, or 1 where the command found or met an error (see `Command`). argparse itself exits with 2.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(words)
    args = parser.parse_args(words)
    command = COMMANDS[args.command]
    try:
        return int(import_module(command.module).run(args))
    except VlmDenseError as error:
        if args.debug:
            raise
        print(f'vlm-dense {args.command}: {error}', file=sys.stderr)
        return command.user_error


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows all sub-commands, and the arguments of the one named in ``words``.

    The modules of the other ones are not imported, so that help stays quick.
    """
    parser = argparse.ArgumentParser(prog='vlm-dense', description='Open-vocabulary detection and segmentation.')
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    choices = parser.add_subparsers(dest='command', required=True, metavar='command')
    for name, command in COMMANDS.items():
        child = choices.add_parser(name, help=command.summary, description=command.summary)
        if name in words:
            import_module(command.module).add_arguments(child)
    return parser
