"""Top-level settings of a config that nothing reads."""

import ast
import builtins
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

RUNNER_KEYS = frozenset(Runner.__init__.__code__.co_varnames[1 : Runner.__init__.__code__.co_argcount]) - {'cfg'}
# Read from the config by mmengine, mmdet, mmseg and this project's tools beside the Runner's own arguments.
OTHER_KEYS = frozenset(
    {
        'activation_checkpointing',
        'backend_args',
        'compile',
        'config_check',
        'custom_imports',
        'efficient_conv_bn_eval',
        'find_unused_parameters',
        'gpu_ids',
        'model_wrapper_cfg',
        'runner_type',
        'strategy',
        'sync_bn',
        'tta_model',
        'tta_pipeline',
        'vis_backends',
    }
)
READ_KEYS = RUNNER_KEYS | OTHER_KEYS
SUFFIXES = ('.py', '.json', '.yaml', '.yml')
BASE_VALUE = re.compile(r'\{\{\s*_base_\.(\w+)[\w.]*\s*\}\}')


def unread_keys(cfg: Config) -> list[str]:
    """Keys that are no setting and that no line of the config or of its bases reads.

    Args:
        cfg: A config; one that was not read from a file has no lines.
    """
    read = set().union(*(_names_read(text) for text in _texts(cfg)))
    return [key for key in cfg if key not in READ_KEYS and key not in read]


def is_written_out(cfg: Config) -> bool:
    """Whether the config's file is plain values, as mmengine writes it: its helper variables are left-overs."""
    return set().union(*(_names_read(text) for text in _texts(cfg))) <= set(dir(builtins))


def _texts(cfg: Config) -> Iterator[str]:
    """The text of a config and of all its bases."""
    if cfg.filename is None:
        return
    own = Path(cfg.filename).read_text(encoding='utf-8')
    if 'read_base' in own:
        yield from _imported_texts(Path(cfg.filename), set())
        return
    # mmengine keeps the bases' texts, each after a line with its absolute path.
    lines: list[str] = []
    for line in cfg.text.splitlines():
        if os.path.isabs(line) and line.endswith(SUFFIXES):
            yield '\n'.join(lines)
            lines = []
        else:
            lines.append(line)
    yield '\n'.join(lines)


def _imported_texts(path: Path, seen: set[Path]) -> Iterator[str]:
    """The text of an importable config and, through its ``with read_base()``, of all its bases."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    text = path.read_text(encoding='utf-8')
    yield text
    for block in ast.walk(ast.parse(text)):
        if isinstance(block, ast.With):
            for node in block.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    yield from _imported_texts(_module_path(path, node.level, node.module), seen)


def _module_path(importer: Path, level: int, module: str) -> Path:
    if level:
        return importer.parents[level - 1].joinpath(*module.split('.')).with_suffix('.py')
    package, _, rest = module.partition('.')
    spec = find_spec(package)
    root = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    return root.joinpath(*rest.split('.')).with_suffix('.py')


def _names_read(text: str) -> set[str]:
    """Names that a config's text loads, or takes from its bases."""
    names = set(BASE_VALUE.findall(text))
    try:
        tree = ast.parse(BASE_VALUE.sub('None', text))
    except SyntaxError:
        # JSON and YAML configs read nothing but their bases' values.
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == '_base_':
            names.add(node.attr)
    return names
