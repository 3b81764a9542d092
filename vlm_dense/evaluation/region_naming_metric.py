"""How often regions get the noun that a caption calls them by."""

from collections.abc import Sequence
from typing import Any

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.registry import METRICS
from vlm_dense.text.word_checks import normalise_word


@METRICS.register_module()
class RegionNamingMetric(PerImageMetric):
    """Share of regions, in percent, whose best word is their own.

    A sample brings ``noun``, as `vlm_dense.datasets.MaskNounDataset` gives it, and the label that a
    `vlm_dense.models.RegionNamer` predicted among the sample's vocabulary. A synonym counts as wrong, so that the
    figure compares towers on one file and vocabulary and says little by itself.

    Figures: ``accuracy`` and ``regions``, how many there were.

    Args:
        collect_device, prefix, collect_dir: As in `PerImageMetric`.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep for every region of a batch whether its word is right.

        Raises:
            ConfigError: If a sample brings no noun or no vocabulary.
        """
        for sample in data_samples:
            noun, vocabulary = sample.get('noun'), sample.get('vocabulary')
            if noun is None or vocabulary is None:
                raise ConfigError(
                    "RegionNamingMetric: a sample brings no 'noun' or no 'vocabulary'; evaluate a "
                    'vlm_dense.MaskNounDataset with all_nouns=True.'
                )
            found = vocabulary.words[int(sample['pred_instances']['labels'][0])]
            hit = normalise_word(found) == normalise_word(noun)
            self.results.append(dict(image=sample['img_id'], hit=hit))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures.

        Raises:
            DataError: If there was no region.
        """
        hits = [result['hit'] for result in self.distinct(results)]
        if not hits:
            raise DataError('RegionNamingMetric: no region was evaluated; is the data set empty?')
        return {'accuracy': 100 * sum(hits) / len(hits), 'regions': float(len(hits))}
