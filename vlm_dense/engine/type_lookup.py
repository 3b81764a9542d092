"""What a ``type`` in a config means: every registry of the scope is asked, whatever kind it is of."""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.registry import Registry, root
from mmengine.utils import get_object_from_string

ROOT_SCOPE = 'mmengine'
# mmdet takes these types from a module by name instead of looking them up in a registry.
MODULE_OF_KEY = {'nms': 'mmcv.ops', 'roi_layer': 'mmcv.ops'}


class TypeLookup:
    """Finds types by name, as mmengine's registries do: in the scope, then in the root.

    Args:
        default_scope: The config's ``default_scope``.
    """

    def __init__(self, default_scope: str) -> None:
        self.default_scope = default_scope
        self._names: dict[str, dict[str, list[tuple[str, Any]]]] = {}

    def find(self, key: str, scope: str | None = None) -> list[tuple[str, Callable[..., Any]]]:
        """Every (kind of registry, class or function) that the name may mean; empty if unknown.

        Args:
            key: As written: 'Name', 'scope.Name' or an importable 'package.module.Name'.
            scope: The scope in force where it is written, if not the default one.
        """
        prefix, _, name = key.rpartition('.')
        if not prefix:
            return self._in_scope(scope or self.default_scope).get(name, [])
        if '.' not in prefix and (found := self._in_scope(prefix).get(name)):
            return found
        imported = get_object_from_string(key)
        return [] if imported is None else [('', imported)]

    def is_installed(self, key: str) -> bool:
        """Whether the package that a name begins with can be imported; True for a name without one."""
        package = key.partition('.')[0]
        return '.' not in key or package == ROOT_SCOPE or find_spec(package) is not None

    def names(self, scope: str | None = None) -> list[str]:
        """Every name that can be written in a scope, for suggestions; ours come with their scope's name."""
        chosen = scope or self.default_scope
        own = [name for registry in _registries('vlm_dense', with_root=False) for name in registry.module_dict]
        return [*self._in_scope(chosen), *(f'vlm_dense.{name}' for name in own)]

    def _in_scope(self, scope: str) -> dict[str, list[tuple[str, Any]]]:
        if scope not in self._names:
            names: dict[str, list[tuple[str, Any]]] = {}
            self._names[scope] = names
            for registry in _registries(scope):
                for name, builder in registry.module_dict.items():
                    names.setdefault(name, []).append((registry.name, builder))
            if scope == 'vlm_dense':
                self._fall_through(names)
        return self._names[scope]

    def _fall_through(self, names: dict[str, list[tuple[str, Any]]]) -> None:
        for sibling in ('mmdet', 'mmseg'):
            for name, found in self._in_scope(sibling).items():
                names.setdefault(name, found)


def _registries(scope: str, with_root: bool = True) -> Iterator[Registry]:
    """All registries of a scope, then those of the root, with their modules imported."""
    if scope != ROOT_SCOPE and find_spec(scope) is not None and find_spec(f'{scope}.registry') is not None:
        import_module(f'{scope}.registry')
    for registry in vars(root).values():
        if isinstance(registry, Registry):
            for one in (registry.children.get(scope), registry if with_root else None):
                if one is not None:
                    one.import_from_location()
                    yield one


def names_in_module(key: str) -> list[str] | None:
    """The types that may stand under a key which names things of a module; None for every other key."""
    module = MODULE_OF_KEY.get(key)
    return None if module is None else dir(import_module(module))
