"""Finds the typing errors in a config before anything is built from it."""

import logging
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from vlm_dense.engine.accepted_keys import accepted_keys
from vlm_dense.engine.plain_sections import DEFAULT_HOOKS, PLAIN_SECTIONS, TYPE_OF_SECTION
from vlm_dense.engine.top_level_keys import OTHER_KEYS, READ_KEYS, RUNNER_KEYS, is_written_out, unread_keys
from vlm_dense.engine.type_lookup import TypeLookup, names_in_module
from vlm_dense.errors import ConfigError

RESERVED = frozenset({'type', '_scope_', '_delete_'})
# Settings that the builder of a registry, or the owner of a part, takes out before the constructor sees them.
TAKEN_BEFORE = {
    'hook': frozenset({'priority'}),
    'optim_wrapper': frozenset({'paramwise_cfg', 'constructor'}),
    'parameter scheduler': frozenset({'convert_to_iter_based'}),
    'vis_backend': frozenset({'name'}),
    'model': frozenset({'bg_cls_weight'}),
}
# Layers of torch, mmcv and mmengine are built by helpers that add and take settings of their own.
FREE_MODULES = ('torch.', 'mmcv.cnn', 'mmcv.ops', 'mmengine.utils')
# Albumentations looks up what stands inside by itself.
FREE_TYPES = ('Albu',)
# Usual names of helper variables, which stay in a config that mmengine wrote out.
HELPERS = frozenset({'train_pipeline', 'val_pipeline', 'test_pipeline'})
NEAR = 0.8
VERY_NEAR = 0.82
NEAREST = 0.85
SHOWN = 12


def check_config(cfg: Config, filename: str | None = None) -> None:
    """Refuse types that no registry knows and settings that nothing reads.

    Every dictionary with a ``type`` is looked up in the registries of its scope, and its keys are compared with
    the arguments of that type's constructor; then the top level is searched for names that nothing reads. A
    config with ``config_check = False`` is left alone, for parts that look types up by other means.

    Args:
        cfg: The config.
        filename: What to call it in messages; its own file name by default.

    Raises:
        ConfigError: Naming the thing, its place, the closest known name and the file.
    """
    if not cfg.get('config_check', True):
        return
    place = filename or cfg.filename or 'the config'
    walk = _Walk(TypeLookup(cfg.get('default_scope', 'mmengine')), place)
    for key in cfg:
        if key in READ_KEYS:
            walk.section(key, cfg[key])
    _check_top_level(cfg, place)


def check_options(options: Mapping[str, Any], place: str = '--cfg-options') -> None:
    """Refuse an override of a helper variable, which comes too late to change anything.

    Args:
        options: Overrides, keys with dots.
        place: What to call them in the message.

    Raises:
        ConfigError: If the first part of a key is not a setting.
    """
    for option in options:
        root = option.split('.')[0]
        if root not in READ_KEYS:
            raise ConfigError(
                f"{place} sets '{option}', but '{root}' is not a setting that anything reads "
                f'after the config was read{_hint(root, READ_KEYS)}; set the place where its value is used, '
                'for example train_dataloader.dataset.data_root.'
            )


class _Walk:
    """One pass over the nested settings of a config."""

    def __init__(self, types: TypeLookup, place: str) -> None:
        self.types = types
        self.place = place

    def section(self, key: str, value: Any) -> None:
        """Check one top-level setting."""
        if isinstance(value, dict):
            if key in PLAIN_SECTIONS and 'type' not in value:
                self._check_names(value, PLAIN_SECTIONS[key], key, key)
            if key == 'default_hooks':
                self._check_near_misses(value, DEFAULT_HOOKS, key, key)
            if key in TYPE_OF_SECTION and 'type' not in value:
                self._typed(dict(value, type=TYPE_OF_SECTION[key]), key, None)
        self._visit(value, key, key, None)

    def _visit(self, value: Any, path: str, key: str, scope: str | None) -> None:
        """Check a value and everything in it; ``key`` is the name it stands under."""
        if isinstance(value, list | tuple):
            for row, item in enumerate(value):
                self._visit(item, f'{path}[{row}]', key, scope)
        if not isinstance(value, dict):
            return
        scope = value.get('_scope_', scope)
        kind = value.get('type')
        if isinstance(kind, str) or callable(kind):
            if not self._known_elsewhere(key, kind, path):
                self._typed(value, path, scope)
            if str(kind).split('.')[-1] in FREE_TYPES:
                return
        for name, item in value.items():
            self._visit(item, f'{path}.{name}', name, scope)

    def _known_elsewhere(self, key: str, kind: Any, path: str) -> bool:
        names = names_in_module(key)
        if names is None or not isinstance(kind, str):
            return False
        if kind not in names:
            raise ConfigError(f"unknown type '{kind}' in {path}{_hint(kind, names)} ({self.place})")
        return True

    def _typed(self, value: Mapping[str, Any], path: str, scope: str | None) -> None:
        kind = value['type']
        found = self.types.find(kind, scope) if isinstance(kind, str) else [('', kind)]
        if not found:
            self._unknown_type(kind, path, scope)
            return
        name = kind.split('.')[-1] if isinstance(kind, str) else kind.__name__
        self._check_arguments(value, found, name, path)

    def _unknown_type(self, kind: str, path: str, scope: str | None) -> None:
        if not self.types.is_installed(kind):
            package = kind.partition('.')[0]
            raise ConfigError(f"type '{kind}' in {path} needs the package '{package}'; install it ({self.place})")
        names = self.types.names(scope)
        # A lower-case name that resembles no type is a choice that its owner reads, not a type.
        if kind[:1].islower() and '.' not in kind and not _closest(kind, names, VERY_NEAR):
            return
        remedy = _hint(kind, names) or '; check the spelling, or add its module to custom_imports'
        raise ConfigError(f"unknown type '{kind}' in {path}{remedy} ({self.place})")

    def _check_arguments(
        self, value: Mapping[str, Any], found: list[tuple[str, Callable[..., Any]]], name: str, path: str
    ) -> None:
        """Compare the keys with the arguments of all types that the name may mean; one that fits is enough."""
        if any(getattr(builder, '__module__', '').startswith(FREE_MODULES) for _, builder in found):
            return
        taken = frozenset().union(*(TAKEN_BEFORE.get(registry, frozenset()) for registry, _ in found))
        accepted = [accepted_keys(builder) for _, builder in found]
        names = frozenset().union(*(one.names for one in accepted))
        keys = [key for key in value if key not in taken]
        if any(one.others == 'meant' for one in accepted):
            return
        if any(one.others == 'ignored' for one in accepted):
            self._check_near_misses(keys, names, path, name)
        else:
            self._check_names(keys, names, path, name)

    def _check_names(self, value: Iterable[str], names: frozenset[str], path: str, owner: str) -> None:
        for key in value:
            if key not in names and key not in RESERVED:
                self._refuse(key, names, path, owner)

    def _check_near_misses(self, value: Iterable[str], names: frozenset[str], path: str, owner: str) -> None:
        for key in value:
            if key not in names and key not in RESERVED and _closest(key, names, NEAR):
                self._refuse(key, names, path, owner)

    def _refuse(self, key: str, names: frozenset[str], path: str, owner: str) -> None:
        remedy = _hint(key, names)
        if not remedy:
            shown = sorted(names)[:SHOWN]
            remedy = f'; it reads {", ".join(shown)}{", ..." if len(names) > SHOWN else ""}'
        raise ConfigError(f"'{owner}' in {path} has no setting '{key}'{remedy} ({self.place})")


def _check_top_level(cfg: Config, place: str) -> None:
    unread = unread_keys(cfg)
    written_out = is_written_out(cfg)
    for key in unread:
        if written_out and key in HELPERS:
            continue
        if close := _closest(key, RUNNER_KEYS | OTHER_KEYS, NEAREST):
            raise ConfigError(f"nothing reads '{key}'; did you mean '{close}'? ({place})")
    if unread and not written_out:
        listed = ', '.join(f"'{key}'" for key in unread)
        text = f'{place}: nothing reads {listed}; remove what is left over, or correct the spelling.'
        print_log(text, logger='current', level=logging.WARNING)


def _closest(name: str, names: Iterable[str], cutoff: float) -> str | None:
    close = get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return close[0] if close else None


def _hint(name: str, names: Iterable[str]) -> str:
    close = _closest(name, names, 0.6)
    return f"; did you mean '{close}'?" if close else ''
