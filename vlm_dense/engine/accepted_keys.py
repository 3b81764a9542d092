"""Which settings a type takes, read from its constructor."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from torch import nn

TAKES_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Accepted:
    """Argument names that are read, and whether any other name raises, is ignored in silence, or may be meant too."""

    names: frozenset[str]
    others: Literal['raise', 'ignored', 'meant']


@cache
def accepted_keys(builder: Callable[..., Any]) -> Accepted:
    """The arguments that a class or function takes by keyword.

    Where a constructor hands ``**kwargs`` to ``super().__init__`` and to nothing else, the names of the next
    constructor in line are added. Where it does nothing with them, other names are ignored; anything else that
    it does means that other names may be meant.
    """
    if not inspect.isclass(builder):
        names, is_open = _own_names(builder)
        return Accepted(names, 'meant' if is_open else 'raise')
    accepted: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    for owner in inspect.getmro(builder):
        if owner is nn.Module:
            break
        constructor = owner.__dict__.get('__init__')
        if constructor is None:
            continue
        if owner is object:
            return Accepted(accepted, 'meant')
        names, is_open = _own_names(constructor)
        accepted |= names - given
        if not is_open:
            break
        use = _use_of_kwargs(constructor, owner.__name__)
        accepted |= use.read - given
        if use.rest != 'passed on':
            return Accepted(accepted, use.rest)
        given |= use.given
    return Accepted(accepted, 'raise')


def _own_names(function: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Keyword names of one function, and whether it takes any others."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset(), True
    names = frozenset(one.name for one in parameters if one.kind in TAKES_KEYWORD and one.name != 'self')
    return names, any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


@dataclass(frozen=True)
class _Use:
    """What a constructor does with ``**kwargs``.

    Attributes:
        rest: What becomes of names that it does not ask for.
        read: Names that it asks for with ``kwargs.get`` or ``kwargs.pop``.
        given: Names that the call of ``super().__init__`` gives beside ``**kwargs``.
    """

    rest: Literal['passed on', 'ignored', 'meant']
    read: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()


def _use_of_kwargs(constructor: Callable[..., Any], owner: str) -> _Use:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(constructor)))
    except (OSError, TypeError, SyntaxError):
        return _Use('meant')
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef) or function.args.kwarg is None:
        return _Use('meant')
    kwargs = function.args.kwarg.arg
    uses = sum(isinstance(node, ast.Name) and node.id == kwargs for node in ast.walk(function))
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    read = [name for call in calls if (name := _asked_for(call, kwargs))]
    passing = [
        call
        for call in calls
        if _is_super_init(call.func, owner) and any(_is_splat(keyword, kwargs) for keyword in call.keywords)
    ]
    if uses != len(read) + len(passing) or len(passing) > 1:
        return _Use('meant')
    if not passing:
        return _Use('ignored', frozenset(read))
    return _Use('passed on', frozenset(read), frozenset(one.arg for one in passing[0].keywords if one.arg))


def _asked_for(call: ast.Call, kwargs: str) -> str | None:
    """The name in ``kwargs.get('name')`` or ``kwargs.pop('name')``."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in ('get', 'pop') and call.args):
        return None
    name = call.args[0]
    is_kwargs = isinstance(function.value, ast.Name) and function.value.id == kwargs
    return name.value if is_kwargs and isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def _is_super_init(function: ast.expr, owner: str) -> bool:
    """Whether an expression is ``super().__init__``, or the same with the class itself named."""
    if not (isinstance(function, ast.Attribute) and function.attr == '__init__'):
        return False
    call = function.value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == 'super'):
        return False
    return not call.args or (isinstance(call.args[0], ast.Name) and call.args[0].id == owner)


def _is_splat(keyword: ast.keyword, name: str) -> bool:
    return keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == name
