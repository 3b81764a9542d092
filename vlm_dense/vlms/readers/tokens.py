"""What readers of transformers share: blocks, taps, and maps of tokens."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.positions import Interpolation
from vlm_dense.vlms.readers.reader import OWNER, Reader, Taps
from vlm_dense.vlms.taps import Tapped, check_taps, default_taps, read_taps


class TokenReader(Reader, ABC):
    """A transformer, of which tokens after any block can be taken."""

    @abstractmethod
    def tokens(self, visual: Any, images_B3HW: Tensor, taps: Sequence[int], interpolation: Interpolation) -> Tapped:
        """All tokens after the given blocks, ascending, each once; and the grid (h, w)."""

    def has_class_token(self, visual: Any) -> bool:
        """Whether the first token is the picture's."""
        return True

    def checked_taps(self, visual: Any, taps: Sequence[int] | None) -> Taps:
        """As `Reader.checked_taps`."""
        if taps is None:
            return None
        check_taps(taps, len(self.blocks(visual)), OWNER)
        return tuple(taps)

    def maps(self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation) -> tuple[Tensor, ...]:
        """As `Reader.maps`."""
        return tuple(map_BChw for map_BChw, _ in self._tapped(visual, images_B3HW, taps, interpolation))

    def class_token_maps(
        self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        """As `Reader.class_token_maps`."""
        if not self.has_class_token(visual):
            return super().class_token_maps(visual, images_B3HW, taps, interpolation)
        tapped = self._tapped(visual, images_B3HW, taps, interpolation)
        return tuple((map_BChw, prefix_BPC[:, 0]) for map_BChw, prefix_BPC in tapped)

    def _tapped(
        self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        run = partial(self.tokens, visual, images_B3HW, interpolation=interpolation)
        chosen = default_taps(len(self.blocks(visual))) if taps is None else taps
        return read_taps(run, chosen, self.prefix_tokens(visual))

    def _check_last_tap(self, visual: Any, taps: Taps) -> None:
        last = len(self.blocks(visual)) - 1
        if taps is not None and taps[-1] != last:
            raise ConfigError(f'taps={taps} of {OWNER}: masks are read from the last block. End with {last}.')
