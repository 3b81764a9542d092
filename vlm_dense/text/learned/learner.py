"""Training of learned prompts on embeddings of pictures or regions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.learned.prompts import LearnedPrompts
from vlm_dense.text.vocabulary import Vocabulary


@MODELS.register_module()
class PromptLearner(BaseModel):
    """Learns contexts by cross-entropy between embeddings and the words of their labels (CoOp, equation 2).

    The image tower's embeddings are made beforehand: a sample is ``dict(embedding=(D,), label=int,
    vocabulary=Vocabulary)``. The state dict holds contexts only.

    Args:
        prompts: `LearnedPrompts`, or its config.
        temperature: Divides the cosines.
        data_preprocessor: As in mmengine.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        prompts: dict | LearnedPrompts,
        temperature: float = 0.01,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.prompts: LearnedPrompts = build_part(prompts)
        self.temperature = temperature

    def forward(
        self,
        embedding: Tensor | Sequence[Tensor],
        vocabulary: Vocabulary | Sequence[Vocabulary],
        label: Tensor | Sequence[int] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor]:
        """Compare embeddings with words.

        Args:
            embedding: (B, D), or B vectors; they are normalised.
            vocabulary: The K words that the labels index: one, or the same one for each sample.
            label: B indices into the words; needed by the loss only.
            mode: 'loss', 'predict' for (B, K) probabilities, or 'tensor' for (B, K) logits.

        Raises:
            ConfigError: If the samples of a batch ask for different vocabularies, or the mode is unknown.
            DataError: If labels are missing or are no rows of the vocabulary.
        """
        words = _one_vocabulary(vocabulary)
        logits_BK = self._logits(torch.stack(list(embedding)), words)
        if mode == 'tensor':
            return logits_BK
        if mode == 'predict':
            return logits_BK.softmax(dim=-1)
        if mode != 'loss':
            raise ConfigError(f"mode='{mode}': write 'loss', 'predict' or 'tensor'.")
        return {'loss': F.cross_entropy(logits_BK, _checked_labels(label, len(words)).to(logits_BK.device))}

    def _logits(self, embedding_BD: Tensor, words: Vocabulary) -> Tensor:
        embedding_BD = F.normalize(embedding_BD.to(self.prompts.context_KPC), dim=-1)
        if self.prompts.meta_net is None:
            return embedding_BD @ self.prompts(words).T / self.temperature
        text_BKD = self.prompts(words, embedding_BD)
        return (text_BKD @ embedding_BD[..., None])[..., 0] / self.temperature


def _one_vocabulary(vocabulary: Vocabulary | Sequence[Vocabulary]) -> Vocabulary:
    asked = [vocabulary] if isinstance(vocabulary, Vocabulary) else list(vocabulary)
    for row, one in enumerate(asked):
        if one is not asked[0] and one != asked[0]:
            raise ConfigError(
                f'samples 0 and {row} of one batch ask for different vocabularies. Send them in separate batches.'
            )
    return asked[0]


def _checked_labels(label: Tensor | Sequence[int] | None, count: int) -> Tensor:
    if label is None:
        raise DataError('the loss needs a label for every embedding. Put label into the samples.')
    label_B = torch.as_tensor(label, dtype=torch.long)
    wrong = label_B[(label_B < 0) | (label_B >= count)]
    if len(wrong):
        raise DataError(f'label {int(wrong[0])} is no row of a vocabulary of {count} words. Correct the labels.')
    return label_B
