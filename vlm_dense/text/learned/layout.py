"""Where context vectors stand around a class name."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_dense.errors import ConfigError

POSITIONS = ('end', 'front', 'middle', 'two_sided')  # of the class name, in CoOp's words


@dataclass(frozen=True)
class PromptLayout:
    """``before`` vectors, the class name, ``after`` vectors, the suffix."""

    before: int
    after: int
    suffix: str = '.'

    @property
    def num_context(self) -> int:
        """Number P of vectors."""
        return self.before + self.after

    def parts(self, word: str) -> list[str | int]:
        """A word's prompt for `TextTower.slotted`: strings are text, numbers stand for so many vectors."""
        name = ' '.join(word.replace('_', ' ').split())  # class names of data sets join words by underscores
        before: list[str | int] = [self.before, ' '] if self.before else []
        after: list[str | int] = [' ', self.after] if self.after else []
        return [*before, name, *after, self.suffix]


def make_layout(num_context: int | Sequence[int], position: str, suffix: str) -> PromptLayout:
    """Place context vectors.

    Args:
        num_context: Number of vectors; a pair (before, after) for 'two_sided'.
        position: Where the class name stands: at the 'end' or 'front', in the 'middle' (half of the vectors, rounded
            down, come before), or 'two_sided' (PromptDet, arXiv:2203.16513).
        suffix: Text after everything.

    Raises:
        ConfigError: If the numbers do not fit the position.
    """
    if position not in POSITIONS:
        raise ConfigError(f"position='{position}': write one of {', '.join(POSITIONS)}.")
    if position == 'two_sided':
        if isinstance(num_context, int) or len(num_context) != 2:
            raise ConfigError(f"num_context={num_context!r}: position='two_sided' takes a pair such as (8, 8).")
        before, after = num_context
    elif not isinstance(num_context, int):
        raise ConfigError(f"num_context={num_context!r}: position='{position}' takes one number.")
    else:
        before = {'end': num_context, 'front': 0, 'middle': num_context // 2}[position]
        after = num_context - before
    if min(before, after) < 0 or before + after < 1:
        raise ConfigError(f'num_context={num_context!r}: give at least one context vector.')
    return PromptLayout(before, after, suffix)
