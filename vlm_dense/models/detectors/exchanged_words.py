"""The control of grounding detectors: asked for every novel word by the name of another."""

from typing import Any

from mmdet.structures import DetDataSample
from torch import Tensor

from vlm_dense.models.detectors.grounding_detector import GroundingDetector
from vlm_dense.models.requests import vocabularies_of
from vlm_dense.registry import MODELS
from vlm_dense.text.controls import exchanged_rows
from vlm_dense.text.vocabulary import Vocabulary


@MODELS.register_module()
class ExchangedWordsDetector(GroundingDetector):
    """A `GroundingDetector` that, when testing, reads another novel word in the place of each novel one.

    What it finds is said under the words that were asked for. The exchange is that of `ShuffledBank`.

    Args:
        exchange_seed: Chooses the exchange.
        detector: Arguments of `GroundingDetector`.
    """

    def __init__(self, exchange_seed: int = 0, **detector: Any) -> None:
        super().__init__(**detector)
        self.exchange_seed = exchange_seed

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """As `GroundingDetector.predict`."""
        asked = vocabularies_of(batch_data_samples)
        for sample, vocabulary in zip(batch_data_samples, asked, strict=True):
            sample.set_metainfo({'vocabulary': self._exchanged(vocabulary)})
        found = super().predict(batch_inputs, batch_data_samples, rescale)
        for sample, vocabulary in zip(found, asked, strict=True):
            sample.set_metainfo({'vocabulary': vocabulary})
        return found

    def _exchanged(self, vocabulary: Vocabulary) -> Vocabulary:
        words = [vocabulary.words[row] for row in exchanged_rows(vocabulary, self.exchange_seed)]
        base = [word for word, is_base in zip(words, vocabulary.is_base, strict=True) if is_base]
        return Vocabulary.from_words(words, base=base)
