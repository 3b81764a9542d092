"""How many detections count, and how that is said."""

from dataclasses import dataclass

import numpy as np

from vlm_dense.errors import ConfigError
from vlm_dense.evaluation.detection_table import DetectionTable

KINDS = {
    'picture_and_word': '{} detections per picture and word',
    'picture': '{} detections per picture over all words',
    'word': '{} detections per word over the whole data set, any number per picture',
}


@dataclass(frozen=True)
class DetectionCap:
    """The best so many detections of a group count; figures under different caps cannot be compared.

    COCO caps each pair of picture and word (100), LVIS each picture over all words (300; Gupta et al., arXiv
    1908.03195), and Fixed AP each word over the whole data set (10,000; Dave et al., arXiv 2102.01066), since a
    cap per picture lets words compete for places.

    Args:
        kind: 'picture_and_word', 'picture' or 'word'.
        limit: Detections that count in each group.

    Raises:
        ConfigError: If the kind is none of these or the limit is not positive.
    """

    kind: str
    limit: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.limit < 1:
            known = ', '.join(f"'{kind}:N'" for kind in KINDS)
            raise ConfigError(f"the cap '{self.kind}:{self.limit}' is none; write {known} with N from 1 on.")

    @classmethod
    def parse(cls, text: str) -> 'DetectionCap':
        """Read 'picture_and_word:100', 'picture:300' or 'word:10000'.

        Raises:
            ConfigError: If the text is no cap.
        """
        kind, _, limit = text.partition(':')
        return cls(kind, int(limit) if limit.isascii() and limit.isdigit() else 0)

    def __str__(self) -> str:
        return f'{self.kind}:{self.limit}'

    @property
    def in_words(self) -> str:
        """The cap as a sentence's part, for tables and result files."""
        return KINDS[self.kind].format(f'{self.limit:,}')

    def apply(self, table: DetectionTable) -> DetectionTable:
        """Keep the detections that count, in the order of the table; of equal scores the first ones stay."""
        group_M = {
            'picture': table.image_M,
            'word': table.category_M,
            'picture_and_word': table.image_M * (int(table.category_M.max(initial=0)) + 1) + table.category_M,
        }[self.kind]
        order_M = np.lexsort((-table.score_M, group_M))
        sorted_M = group_M[order_M]
        rank_M = np.arange(len(sorted_M)) - np.searchsorted(sorted_M, sorted_M)
        return table.take(np.sort(order_M[rank_M < self.limit]))
