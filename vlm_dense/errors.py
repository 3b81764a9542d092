"""Errors that a user can cause. Every message names the thing, the place and the remedy."""


class VlmDenseError(Exception):
    """Base of every error this package raises on purpose."""


class VocabularyError(VlmDenseError, ValueError):
    """A list of words that cannot be used."""


class ConfigError(VlmDenseError, ValueError):
    """A configuration that cannot be built."""


class DataError(VlmDenseError, ValueError):
    """Annotations or pictures that contradict themselves or the vocabulary."""


class CheckpointError(VlmDenseError, ValueError):
    """A checkpoint that does not fit, or that would run code when read."""


class MissingFileError(VlmDenseError, FileNotFoundError):
    """Weights, pictures or annotations that are not where they were looked for."""

    # OSError.__str__ formats errno and filename; ours carries one plain sentence.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ''


class StorageError(VlmDenseError, OSError):
    """A cache or an output folder that cannot be written."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ''


class UnsupportedOpError(VlmDenseError, RuntimeError):
    """An mmcv op that needs mmcv's compiled extension."""
