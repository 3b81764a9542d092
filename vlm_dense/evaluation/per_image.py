"""A metric that counts every picture once, however many processes saw it."""

import sys
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric
from torch import distributed

from vlm_dense.errors import DataError


class PerImageMetric(BaseMetric):
    """Base of metrics whose results are one dictionary per picture, with its identity under ``image``.

    Samplers pad the data set so that every process gets equally many pictures. mmengine cuts the padding by
    position, which is right for its own interleaving sampler only; here a picture that comes twice is
    dropped by its identity, and the rest is ordered by it, so that the number of processes changes nothing.

    Args:
        collect_device: 'cpu' gathers through files in ``collect_dir`` (a folder that all processes see),
            'gpu' through the process group. A gloo group always gathers through the group.
        prefix: Put before the names of the figures, with a slash.
        collect_dir: See ``collect_device``; mmengine's default is a new folder in ``./.dist_test``.
    """

    default_prefix = ''

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None, collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self._size = 0

    def evaluate(self, size: int) -> dict:
        """Gather, drop repeated pictures and compute.

        Args:
            size: Number of pictures in the data set.

        Raises:
            DataError: If fewer pictures with different identities were evaluated.
        """
        self._size = size
        if distributed.is_available() and distributed.is_initialized() and distributed.get_backend() == 'gloo':
            self.collect_device = 'gpu'
        return super().evaluate(sys.maxsize)

    def distinct(self, results: Sequence[dict]) -> list[dict]:
        """One result per picture, ordered by the picture's identity.

        Raises:
            DataError: If fewer pictures than the data set's size remain.
        """
        by_image = {result['image']: result for result in reversed(results)}
        if len(by_image) < self._size:
            raise DataError(
                f'{type(self).__name__}: the data set has {self._size} pictures but only {len(by_image)} different '
                'identities; give every picture its own id (or path) and list none twice.'
            )
        return [by_image[image] for image in sorted(by_image)]
