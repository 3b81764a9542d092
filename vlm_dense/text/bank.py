"""Text banks: one row of text embedding per word of a vocabulary."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.text.averaging import AVERAGINGS
from vlm_dense.text.cache import banks_folder
from vlm_dense.text.encoders.base import TextEncoder
from vlm_dense.text.prompts import load_prompts
from vlm_dense.text.row_store import RowStore, row_key, stack_keys
from vlm_dense.text.vocabulary import Vocabulary

CACHE_LAYOUT = 2  # raise when the meaning of a cached file changes
DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}
LIMIT_BYTES = 4 * 2**30
TEXTS_PER_PART = 8192  # encoded, averaged and kept on disk together: bounds memory, and what a kill can lose
TEXTS_WITH_BAR = 2000  # fewer take seconds
VOCABULARIES_IN_MEMORY = 16


@MODELS.register_module()
class TextBank:
    """Encodes each word in its prompts, once per word and encoder.

    A row is made from the texts of its word alone, so neither the order of the words nor their company changes it, to
    the last bit. A cache on disk holds finished banks and hence rows: of a changed list only the new words are encoded.

    A bank is no ``nn.Module``: inside a model it adds nothing to the state dict.

    Args:
        encoder: A text encoder or its config. Its weights are read at the first word that no cache holds.
        prompt: Name of a prompt set, a template or a list of templates; see `vlm_dense.text.prompts`.
        averaging: How the texts of a word become one row, a name of `vlm_dense.text.averaging.AVERAGINGS`. The default
            is CLIP's zero-shot recipe (arXiv:2103.00020 section 3.1.4), which ViLD also uses.
        synonyms: 'ignore' embeds the word itself; 'mean' averages the texts of all its names. For the best of several
            names see `rows_of_names`.
        cache_dir: Folder for finished banks, shared by any number of processes. 'default' is ``$VLM_DENSE_CACHE/text``
            or ``~/.cache/vlm_dense/text``; None keeps banks in memory only.
        cache_limit: Bytes that all banks in the folder may take; those not read for longest go first. None: no limit.
        dtype: 'float32', 'float16' or 'bfloat16': type of the rows, on disk and as returned. The arithmetic before the
            rounding is float32.

    Raises:
        ConfigError: If the encoder, the prompt, the averaging or the type cannot be used.
    """

    def __init__(
        self,
        encoder: dict | TextEncoder,
        prompt: str | Sequence[str] = 'single',
        averaging: str = 'normalise_mean_normalise',
        synonyms: Literal['ignore', 'mean'] = 'ignore',
        cache_dir: str | None = 'default',
        cache_limit: int | None = LIMIT_BYTES,
        dtype: str = 'float32',
    ) -> None:
        built: Any = build_part(encoder)
        if not callable(getattr(built, 'encode', None)):
            raise ConfigError(f'{type(built).__name__} is no text encoder: it has no encode(texts). Name another type.')
        _check_choice('averaging', averaging, AVERAGINGS)
        _check_choice('synonyms', synonyms, ('ignore', 'mean'))
        _check_choice('dtype', dtype, DTYPES)
        self.encoder: TextEncoder = built
        self.prompts = load_prompts(prompt)
        self.prompt = prompt
        self.averaging, self.synonyms, self.dtype = averaging, synonyms, dtype
        self.cache_dir = banks_folder(cache_dir)
        self.cache_limit = cache_limit
        self._memory: OrderedDict[tuple, Tensor] = OrderedDict()

    @property
    def embed_dim(self) -> int:
        """Width D of the rows."""
        return self.encoder.embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        """Embed a vocabulary.

        Args:
            vocabulary: K words.

        Returns:
            (K, D) rows on the CPU, of unit length unless the averaging leaves them otherwise. The tensor is shared
            between calls, and mapped from disk where there is a cache: do not write to it.

        Raises:
            StorageError: If ``cache_dir`` cannot be read or written.
            VocabularyError: If a text is longer than the encoder reads, or a definition is missing.
        """
        # The key is cheap: a model asks at every step, and the texts of many words in many prompts take long to write.
        asked = vocabulary.words, vocabulary.synonyms if self.synonyms == 'mean' else (), vocabulary.definitions
        return self._remembered(
            asked,
            lambda: self._rows([self._texts(vocabulary, row) for row in range(len(vocabulary))], vocabulary.words),
        )

    def rows_of_names(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        """Embed every name of every word on its own, for scores that take the best name of a word.

        Returns:
            Rows (S, D) as from a call, the names of a word next to each other, and for each the index of its word
            (S,) int64; see `vlm_dense.text.averaging.max_over_synonyms`.
        """
        names = [(name, row) for row in range(len(vocabulary)) for name in vocabulary.names(row)]
        asked = 'names', vocabulary.words, vocabulary.synonyms, vocabulary.definitions
        name_SD = self._remembered(
            asked,
            lambda: self._rows(
                [self.prompts.texts(name, vocabulary.definition(row)) for name, row in names],
                [name for name, _ in names],
            ),
        )
        return name_SD, torch.tensor([row for _, row in names])

    def cache_file(self, vocabulary: Vocabulary) -> Path | None:
        """Where the bank of a vocabulary is kept, or None without ``cache_dir``."""
        store = self._store()
        keys = [row_key(self._texts(vocabulary, row)) for row in range(len(vocabulary))]
        return None if store is None else store.bank_file(stack_keys(keys))

    def _texts(self, vocabulary: Vocabulary, row: int) -> list[str]:
        names = vocabulary.names(row) if self.synonyms == 'mean' else (vocabulary.words[row],)
        return [text for name in names for text in self.prompts.texts(name, vocabulary.definition(row))]

    def _store(self) -> RowStore | None:
        if self.cache_dir is None:
            return None
        identity = json.dumps([CACHE_LAYOUT, self.encoder.fingerprint, self.averaging, self.dtype])
        space = hashlib.sha256(identity.encode()).hexdigest()[:32]
        return RowStore(self.cache_dir, space, self.cache_limit)

    def _remembered(self, asked: tuple, make: Callable[[], Tensor]) -> Tensor:
        if asked not in self._memory:
            self._memory[asked] = make()
            if len(self._memory) > VOCABULARIES_IN_MEMORY:
                self._memory.popitem(last=False)
        self._memory.move_to_end(asked)
        return self._memory[asked]

    def _rows(self, texts: list[list[str]], names: Sequence[str]) -> Tensor:
        store = self._store()
        if store is None:
            return self._embed(texts)
        return self._embed_stored(store, stack_keys([row_key(row) for row in texts]), texts, names)

    def _embed_stored(self, store: RowStore, row_keys: Tensor, texts: list[list[str]], names: Sequence[str]) -> Tensor:
        text_KD = store.bank(row_keys)
        if text_KD is not None:
            return text_KD
        with store.locked():
            text_KD = store.bank(row_keys)  # another process may have made it meanwhile
            if text_KD is None:
                self._make_bank(store, row_keys, texts, names)
                text_KD = store.bank(row_keys)
        return self._embed(texts) if text_KD is None else text_KD

    def _make_bank(self, store: RowStore, row_keys: Tensor, texts: list[list[str]], names: Sequence[str]) -> None:
        keys = [key.tobytes() for key in row_keys.numpy()]
        rows = store.known_rows(row_keys)
        missing = [row for row, key in enumerate(keys) if key not in rows]

        def keep(part: list[int], text_KD: Tensor) -> None:
            rows.update(zip([keys[row] for row in part], text_KD, strict=True))
            if len(part) < len(missing):
                store.save_part(row_keys[part], text_KD, self._metadata([names[row] for row in part]))

        self._embed_parts(texts, missing, keep)
        store.save_bank(row_keys, torch.stack([rows[key] for key in keys]), self._metadata(names))

    def _metadata(self, names: Sequence[str]) -> dict[str, str]:
        return {
            'encoder': self.encoder.fingerprint,
            'prompt': json.dumps(self.prompt),
            'averaging': self.averaging,
            'names': json.dumps(list(names)),
        }

    def _embed(self, texts: list[list[str]]) -> Tensor:
        parts: list[Tensor] = []
        self._embed_parts(texts, list(range(len(texts))), lambda _, text_KD: parts.append(text_KD))
        return torch.cat(parts)

    def _embed_parts(
        self, texts: list[list[str]], wanted: list[int], keep: Callable[[list[int], Tensor], None]
    ) -> None:
        """Embed the wanted rows in parts of bounded size, and hand each part over when it is done."""
        total = sum(len(texts[row]) for row in wanted)
        # disable=None shows the bar on terminals only.
        hidden = None if total >= TEXTS_WITH_BAR else True
        with tqdm(total=total, unit='text', desc='encoding words', disable=hidden) as bar:
            for part in _parts(texts, wanted):
                keep(part, self._embed_rows([texts[row] for row in part]))
                bar.update(sum(len(texts[row]) for row in part))

    def _embed_rows(self, texts: list[list[str]]) -> Tensor:
        distinct = sorted({text for row in texts for text in row})
        place = {text: index for index, text in enumerate(distinct)}
        encoded_MD = self.encoder.encode(distinct, normalise=False)
        average = AVERAGINGS[self.averaging]
        text_KD = torch.empty(len(texts), encoded_MD.shape[1])
        for count in sorted({len(row) for row in texts}):
            rows = [index for index, row in enumerate(texts) if len(row) == count]
            index_KT = torch.tensor([[place[text] for text in texts[row]] for row in rows])
            text_KD[rows] = average(encoded_MD[index_KT])
        return text_KD.to(DTYPES[self.dtype])


def _parts(texts: list[list[str]], wanted: list[int]) -> Iterator[list[int]]:
    part: list[int] = []
    count = 0
    for row in wanted:
        if part and count + len(texts[row]) > TEXTS_PER_PART:
            yield part
            part, count = [], 0
        part.append(row)
        count += len(texts[row])
    if part:
        yield part


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise ConfigError(f'TextBank: {name}={value!r}; choose one of {", ".join(choices)}.')
