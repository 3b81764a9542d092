"""What every image tower offers."""

from torch import Tensor, nn

from vlm_dense.errors import ConfigError


class ImageTower(nn.Module):
    """The picture half of a vision-language pair.

    Pictures come in as (B, 3, H, W), RGB, already normalised with ``mean`` and ``std``. A subclass implements the
    read-outs it has; the others raise `ConfigError`.

    Attributes:
        embed_dim: Width D of the shared space.
        mean: Per channel, RGB, on the 0..255 scale.
        std: As ``mean``.
        input_size: Side in pixels of the square pictures that the tower was trained on.
        fingerprint: Names the tower, its weights and its settings.
    """

    embed_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int

    @property
    def fingerprint(self) -> str:
        raise self._lacks('a fingerprint')

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Raw stage maps, finest first, at strides 4, 8, 16 and 32 unless the tower says otherwise."""
        raise self._lacks('a pyramid of stage maps')

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        """Whole pictures to (B, D) unit rows."""
        raise self._lacks('an embedding of whole pictures')

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell of the last map to the shared space: (B, D, h, w), unit length along D."""
        raise self._lacks('a dense embedding')

    def embed_dense_and_keys(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """As `embed_dense`, and the keys of the last attention at the same cells, raw: (B, C, h, w)."""
        raise self._lacks('keys of an attention')

    def tail(self) -> nn.Module:
        """The layers between the last map of `pyramid` and the D channels of the shared space."""
        raise self._lacks('a tail after its pyramid')

    def _lacks(self, what: str) -> ConfigError:
        return ConfigError(
            f'{type(self).__name__} has no {what.removeprefix("a ").removeprefix("an ")}. Use another tower.'
        )
