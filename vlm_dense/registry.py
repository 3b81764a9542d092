"""Registries of scope ``vlm_dense``, children of mmengine's root registries.

A type of ours is written ``vlm_dense.TypeName`` in a config whose ``default_scope`` is ``mmdet`` or
``mmseg``; inside ``default_scope = 'vlm_dense'`` a bare name falls through to mmengine, mmdet and mmseg.
A registry has one parent, and mmdet's and mmseg's are siblings, so ours hang from their common root.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from mmengine import registry as root

from vlm_dense.errors import ConfigError

SIBLING_SCOPES = ('mmdet', 'mmseg')


class Registry(root.Registry):
    """A registry that falls through to mmdet and mmseg and suggests a name for an unknown type."""

    def get(self, key: str) -> Any:
        """Look a type up.

        Raises:
            ConfigError: If no scope knows the name, or both mmdet and mmseg do.
        """
        scope, name = self.split_scope_key(key)
        if scope not in (None, self.scope):
            return super().get(key)
        self.import_from_location()
        if name in self.module_dict:
            return self.module_dict[name]
        if scope is None and name in self.parent.module_dict:
            return self.parent.module_dict[name]
        siblings = [] if scope else [(other, registry) for other, registry in self._siblings() if name in registry]
        if len(siblings) > 1:
            choices = ' or '.join(f"'{other}.{name}'" for other, _ in siblings)
            raise ConfigError(f"type '{name}' is registered by several packages; write {choices}.")
        if not siblings:
            raise ConfigError(unknown_type_message(key, self.known_names()))
        return siblings[0][1].get(name)

    def known_names(self) -> list[str]:
        """Every type name that can be written here, own names first."""
        names = list(self.module_dict)
        for _, registry in self._siblings():
            names.extend(registry.module_dict)
        names.extend(self.parent.module_dict)
        return names

    def _siblings(self) -> list[tuple[str, root.Registry]]:
        found = []
        for scope in SIBLING_SCOPES:
            import_module(f'{scope}.registry')
            registry = self.parent.children.get(scope)
            if registry is not None:
                registry.import_from_location()
                found.append((scope, registry))
        return found


def unknown_type_message(key: str, names: list[str]) -> str:
    """The sentence for a type nobody registered, with the closest known name."""
    close = get_close_matches(key, names, n=1, cutoff=0.6)
    remedy = f"did you mean '{close[0]}'?" if close else 'check the spelling, or add its module to custom_imports.'
    return f"unknown type '{key}'; {remedy}"


def _child(parent: root.Registry, *rooms: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='vlm_dense', locations=[f'vlm_dense.{room}' for room in rooms])


MODELS = _child(root.MODELS, 'text', 'vlms', 'models')
DATASETS = _child(root.DATASETS, 'datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'datasets')
METRICS = _child(root.METRICS, 'evaluation')
HOOKS = _child(root.HOOKS, 'engine')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'engine')
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, 'engine')
LOOPS = _child(root.LOOPS, 'engine.protocol_runs')


def build_part(part: Any) -> Any:
    """A part of a model: what its config describes, or the part itself where it is one already."""
    return MODELS.build(part) if isinstance(part, dict) else part
