"""The text half of any open_clip model, frozen."""

from vlm_dense.checkpoints.open_clip_models import OpenClipSource, find_open_clip
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders.frozen import CHUNK_SIZE, FrozenTextEncoder
from vlm_dense.text.encoders.open_clip_tower import OpenClipTextTower, open_clip_tokenizer, readout_fingerprint
from vlm_dense.text.encoders.tokens import TextTokenizer
from vlm_dense.text.encoders.tower import TextTower, check_readout

DEFAULT_WIDTH = 512  # of open_clip's CLIPTextCfg


@MODELS.register_module()
class OpenClipTextEncoder(FrozenTextEncoder):
    """Texts to the embedding space of an open_clip model, on the CPU in float32.

    Weights are looked for when the encoder is made and read at the first text.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint, a tag, or whatever `find_open_clip` takes; None for random weights that are
            the same in every process.
        chunk_size: Texts per forward pass.
        readout: As in `OpenClipTextTower`.

    Raises:
        ConfigError: If the architecture or the read-out is unknown.
        MissingFileError: If the weights are not on this machine.
    """

    def __init__(
        self, name: str, pretrained: str | None = None, chunk_size: int = CHUNK_SIZE, readout: str = 'projected'
    ) -> None:
        super().__init__(chunk_size)
        check_readout(readout)
        self.readout = readout
        self._name = name, pretrained
        self._source: OpenClipSource = find_open_clip(name, pretrained)
        self._fingerprint: str | None = None

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        if self.readout == 'projected':
            return self._source.embed_dim
        return int(self._source.config['text_cfg'].get('width', DEFAULT_WIDTH))

    @property
    def fingerprint(self) -> str:
        """Architecture, read-out and SHA-256 of the weights."""
        if self._fingerprint is None:
            self._fingerprint = readout_fingerprint(self._source, self.readout)
        return self._fingerprint

    def _load_tokenizer(self) -> TextTokenizer:
        return open_clip_tokenizer(self._source)

    def _load(self) -> TextTower:
        return OpenClipTextTower(*self._name, readout=self.readout)
