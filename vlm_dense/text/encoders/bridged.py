"""The text half of "ImageNet classifier + sentence encoder": a two-tower model joined in closed form.

This is not CLIP: nothing was trained on pictures with captions. A text is placed where an ImageNet classifier would
look for it, through the names of the 1000 ImageNet classes, with which both halves are familiar. It turns ConSE
(arXiv:1312.5650), which places pictures in a space of words, the other way round. Unlike ConSE, the whole softmax is
used and the classifier's own weights stand for the classes.
"""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.checkpoints.packages import LITE0, LITE0_WEIGHTS, file_sha256, package_version, packaged_file
from vlm_dense.errors import CheckpointError
from vlm_dense.registry import MODELS
from vlm_dense.text.cache import banks_folder, read_tensor, write_tensor
from vlm_dense.text.encoders.batching import rows_in_fixed_batches
from vlm_dense.text.encoders.frozen import CHUNK_SIZE
from vlm_dense.text.encoders.sentence import SentenceEncoder

SHARPNESS = 20.0  # multiplies the cosine between a text and a class name; values of 10 to 40 differ by about a point
FEATURE_WIDTH = 1280
CLASSIFIER_WEIGHT = '_fc.weight'


@MODELS.register_module()
class BridgedTextEncoder:
    """Texts to the feature space of EfficientNet-Lite0, D = 1280, on the CPU in float32.

    With ``t`` the sentence embedding of a text, ``T`` those of the 1000 bare class names and ``W`` the weights of the
    classifier, one row per class::

        a = softmax(20 * t @ T.T)
        w = normalize(a @ normalize(W - mean(W)))

    The picture half is `vlm_dense.ImageNetTower`; the score is their cosine.

    Args:
        chunk_size: Texts per forward pass of the sentence encoder.
        cache_dir: Folder that keeps ``T``, which takes seconds to make; 'default' as in `TextBank`, None makes it once
            per encoder.

    Raises:
        MissingFileError: If one of the two packages is not installed; the message holds the pip command.
    """

    embed_dim = FEATURE_WIDTH

    def __init__(self, chunk_size: int = CHUNK_SIZE, cache_dir: str | None = 'default') -> None:
        self._weights_file = packaged_file(LITE0, LITE0_WEIGHTS)
        self._sentences = SentenceEncoder(chunk_size)
        self._cache_dir = banks_folder(cache_dir)
        self._class_names_KE: Tensor | None = None
        self._class_weights_KD: Tensor | None = None

    @property
    def fingerprint(self) -> str:
        """Versions and SHA-256 of both halves and of the class names."""
        names = hashlib.sha256('\n'.join(_class_names()).encode()).hexdigest()[:16]
        classifier = f'{LITE0}:{package_version(LITE0)}:{file_sha256(self._weights_file)}'
        return f'bridge:{SHARPNESS:g}:{names}:{classifier}:{self._sentences.fingerprint}'

    @property
    def max_tokens(self) -> int:
        """The longest text in tokens, special tokens included."""
        return self._sentences.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included and nothing cut."""
        return self._sentences.count_tokens(texts)

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        """Encode texts; a row does not depend on the other texts.

        Args:
            texts: N texts.
            normalise: Scale the rows to unit length.

        Returns:
            (N, 1280) float32 rows on the CPU.

        Raises:
            VocabularyError: If a text is longer than the sentence encoder reads.
        """
        text_NE = self._sentences.encode(texts)
        names_KE, weights_KD = self._class_embeddings(), self._class_weights()

        def run(chunk: list[int], length: int) -> Tensor:
            share_NK = F.softmax(SHARPNESS * text_NE[chunk] @ names_KE.T, dim=-1)
            placed_ND = share_NK @ weights_KD
            return F.normalize(placed_ND, dim=-1) if normalise else placed_ND

        return rows_in_fixed_batches([1] * len(text_NE), run, self._sentences.chunk_size, FEATURE_WIDTH)

    def _class_embeddings(self) -> Tensor:
        if self._class_names_KE is None:
            names = _class_names()
            path = None
            if self._cache_dir is not None:
                key = hashlib.sha256('\n'.join([self._sentences.fingerprint, *names]).encode()).hexdigest()
                path = self._cache_dir / 'class-names' / f'{key}.safetensors'
            cached = None if path is None else read_tensor(path, rows=len(names))
            if cached is None:
                cached = self._sentences.encode(names)
                if path is not None:
                    write_tensor(path, cached, {'encoder': self._sentences.fingerprint, 'words': 'ImageNet classes'})
            self._class_names_KE = cached
        return self._class_names_KE

    def _class_weights(self) -> Tensor:
        if self._class_weights_KD is None:
            weight_KD = torch.load(self._weights_file, map_location='cpu', weights_only=True).get(CLASSIFIER_WEIGHT)
            if weight_KD is None or weight_KD.shape != (len(_class_names()), FEATURE_WIDTH):
                raise CheckpointError(
                    f"'{self._weights_file}' has no '{CLASSIFIER_WEIGHT}' of 1000 x {FEATURE_WIDTH}. "
                    'Install the package again.'
                )
            self._class_weights_KD = F.normalize(weight_KD.float() - weight_KD.float().mean(dim=0), dim=-1)
        return self._class_weights_KD


def _class_names() -> list[str]:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    return list(IMAGENET_CLASSNAMES)
