"""The bound that GLIP puts on scores and states, so that half precision holds them."""

from torch import Tensor

BOUND = 50_000.0  # half precision ends at 65,504


def clamped(values: Tensor) -> Tensor:
    """Values cut to what half precision holds, any shape."""
    return values.clamp(-BOUND, BOUND)
