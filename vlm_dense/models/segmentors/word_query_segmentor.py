"""A segmentor that learns from one question per picture: where is this word?"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.ov_decode_head import IGNORE_INDEX
from vlm_dense.models.segmentors.drawn_words import draw_words
from vlm_dense.models.segmentors.ov_encoder_decoder import OVEncoderDecoder
from vlm_dense.registry import MODELS
from vlm_dense.text.drawn_prompts import rows_of_words


@MODELS.register_module()
class WordQuerySegmentor(OVEncoderDecoder):
    """`OVEncoderDecoder` for a head that judges every word by itself, such as `FilmPixelHead`.

    In training each picture is asked for one word, in it or not, and answers are compared with its mask by binary
    cross-entropy, the mean over all labelled pixels of the batch. Samples of a batch may carry different words. Source:
    CLIPSeg (arXiv:2112.10003), Sec. 3 and 4.

    Args:
        text_bank: ``vlm_dense.TextBank``, or ``vlm_dense.DrawnPromptBank`` to train in templates drawn at random.
        negatives: How often a picture is asked for a word that it lacks.
        ignore_index: Label of pixels that count for nothing.
        kwargs: Other arguments of `OVEncoderDecoder`.

    Raises:
        ConfigError: If ``negatives`` is no probability.
    """

    def __init__(
        self, *args: object, negatives: float = 0.2, ignore_index: int = IGNORE_INDEX, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if not 0 <= negatives <= 1:
            raise ConfigError(f'WordQuerySegmentor: negatives={negatives}; give a probability from 0 to 1.')
        self.negatives = negatives
        self.ignore_index = ignore_index

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Binary cross-entropy of one drawn word per picture.

        Raises:
            ConfigError: If a sample carries no vocabulary.
        """
        words, targets_BHW = draw_words(data_samples, self.negatives, self.ignore_index)
        head = self.decode_head
        reduced, grid = head.reduce(self.extract_feat(inputs))
        logits_BHW = head.decode(reduced, rows_of_words(self.text_bank, words).to(inputs.device), grid)
        logits_BHW = head.resize(logits_BHW[:, None], targets_BHW.shape[-2:])[:, 0]
        known_BHW = targets_BHW != self.ignore_index
        total = functional.binary_cross_entropy_with_logits(
            logits_BHW, (targets_BHW == 1).to(logits_BHW), weight=known_BHW.to(logits_BHW), reduction='sum'
        )
        return {'decode.loss_mask': total / known_BHW.sum().clamp(min=1)}

    def _forward(self, inputs: Tensor, data_samples: Sequence | None = None) -> Tensor:
        """Raw logits (B, K, H, W)."""
        return self.decode_head(self.extract_feat(inputs), *self.request(data_samples, inputs.device))
