"""A segmentor for batches in which every picture asks for words of its own.

Shapes: B images, K words of a picture.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.pixels import Pixels
from vlm_dense.models.requests import vocabularies_of
from vlm_dense.models.segmentors.ov_encoder_decoder import OVEncoderDecoder
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary


@MODELS.register_module()
class OwnWordsSegmentor(OVEncoderDecoder):
    """`OVEncoderDecoder` whose pictures may each bring other words, in training as in prediction.

    The pixels of a training batch are embedded together; then each picture's are compared with its own words. So all
    pictures of a training batch need equally many words; in prediction any number goes. Source: the few-shot
    experiments of LSeg (arXiv:2201.03546, Sec. 4.1), where every picture has two, "others" and the class of its
    episode. Arguments are those of `OVEncoderDecoder`.
    """

    def _decode_losses(self, features: Sequence, data_samples: Sequence, device: torch.device) -> dict[str, Tensor]:
        asked = vocabularies_of(data_samples)
        for row, vocabulary in enumerate(asked):
            if len(vocabulary) != len(asked[0]):
                raise ConfigError(
                    f'data samples 0 and {row} of one training batch bring {len(asked[0])} and {len(vocabulary)} '
                    'words; give all pictures of a batch equally many, or train with batch_size=1.'
                )
        pixels = self.decode_head.embed(features)
        logits = [
            self.decode_head.logits(_picture(pixels, row), *self.request([sample], device))
            for row, sample in enumerate(data_samples)
        ]
        return self.decode_head.compare(torch.cat(logits), data_samples)

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None) -> Sequence:
        """As `OVEncoderDecoder.predict`, pictures with the same words together.

        Raises:
            ConfigError: If a sample carries no vocabulary.
        """
        samples = list(data_samples or [])
        rows_of: dict[Vocabulary, list[int]] = {}
        for row, vocabulary in enumerate(vocabularies_of(samples)):
            rows_of.setdefault(vocabulary, []).append(row)
        for rows in rows_of.values():
            super().predict(inputs[rows], [samples[row] for row in rows])
        return samples


def _picture(pixels: Pixels, row: int) -> Pixels:
    """One picture of a batch."""
    gate_B1hw = pixels.gate_B1hw
    return Pixels(pixels.dense_BDhw[row : row + 1], None if gate_B1hw is None else gate_B1hw[row : row + 1])
