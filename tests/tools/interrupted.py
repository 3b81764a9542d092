"""Runs of tools that are killed halfway and finished by two processes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def killed(
    run: Callable[[], Any], tool: ModuleType, step: str, monkeypatch: pytest.MonkeyPatch, after: int = 5
) -> list[tuple]:
    """Run a tool that dies when it calls one of its functions once more.

    Returns:
        The arguments of all calls so far, to which those of later runs are added.
    """
    calls: list[tuple] = []
    original = getattr(tool, step)

    def dies(*args: Any) -> Any:
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(tool, step, dies)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(tool, step, lambda *args: calls.append(args) or original(*args))
    return calls


def shared_by_two(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as the second of two processes, then as the first."""
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank in (1, 0):
        monkeypatch.setenv('RANK', str(rank))
        run()
