"""Pictures with captions in WebDataset shards as a data set of known length."""

import json
import logging
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from vlm_dense.datasets.caption_rows import phrase_rows
from vlm_dense.datasets.metainfo import keep_on_samples
from vlm_dense.datasets.picture_errors import PictureErrors
from vlm_dense.datasets.shards.index import index_shard
from vlm_dense.datasets.shards.members import member_name, member_uri, read_member
from vlm_dense.datasets.shards.names import shard_paths
from vlm_dense.errors import ConfigError, DataError, VocabularyError
from vlm_dense.registry import DATASETS

REMEDY = 'check data_root and shards in the config.'
EXAMPLES = 3
logger = logging.getLogger(__name__)


@DATASETS.register_module()
class CaptionShards(PictureErrors, BaseDataset):
    """One entry per sample of the shards: its picture, its caption, and the caption's noun phrases as words.

    A sample is what the format makes it: files of one name up to the first dot, with a picture (jpg, jpeg, png, webp)
    and a caption (txt, or json with ``caption_key``). The headers of every shard are read once; the index is kept in
    the cache folder, and 48 bytes of a sample stay in memory. Then samples have numbers like those of any data set:
    mmengine's samplers shuffle over all shards, share them between processes and workers without overlap, and go on
    after a resume, none of which a stream of shards gives. Reading a sample is two reads at known places, so shards
    belong on disks that seek, not behind HTTP.

    An entry brings ``text`` (the caption), ``phrases``, ``vocabulary`` and ``prompt``, which the packing step of any
    pipeline keeps; a phrase that stands at several places is one word. A caption without a noun phrase is its own word.

    Args:
        shards: Names with numbers in braces, 'cc3m-{00000..00331}.tar', below ``data_root``.
        caption_key: Where the caption stands in a sample's json.
        phrases: Method of `vlm_dense.text.phrases.noun_phrases`.
        phrase_model: Its model, where it takes one.
        damaged: 'refuse' stops at a sample that is not whole or cannot be read. 'report' leaves it out and warns, with
            the numbers so far: at the start of what the index shows, while training of every picture that cannot be
            decoded and every caption that cannot be read, in whose place another sample is drawn at random.
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmengine's ``BaseDataset``.

    Raises:
        MissingFileError: If a shard does not exist.
        DataError: If a shard is damaged, a sample is and ``damaged`` is 'refuse', or there is no sample.
        ConfigError: If ``damaged`` is neither of its values, or ``shards`` names no files.
    """

    METAINFO = dict(classes=('phrase',))

    def __init__(
        self,
        shards: str | Sequence[str],
        *,
        caption_key: str = 'caption',
        phrases: str = 'rules',
        phrase_model: str | PathLike[str] | None = None,
        damaged: str = 'refuse',
        data_root: str = '',
        remedy: str = REMEDY,
        **kwargs: Any,
    ) -> None:
        if damaged not in ('refuse', 'report'):
            raise ConfigError(f"damaged is '{damaged}'; write 'refuse' or 'report'.")
        self.shards = shard_paths(shards, data_root, remedy)
        self.caption_key = caption_key
        self.phrases = (phrases, phrase_model)
        self.damaged = damaged
        self.remedy = remedy
        self._unreadable = 0
        # What mmengine would pickle is an array already.
        kwargs['serialize_data'] = False
        super().__init__(data_root=data_root, **kwargs)
        keep_on_samples(self.pipeline, 'text', 'phrases', 'vocabulary', 'prompt')

    def load_data_list(self) -> np.ndarray:
        """Number of the shard and `ShardIndex.places_N5` of every sample, (N, 6)."""
        rows, problems = [], []
        for number, shard in enumerate(self.shards):
            index = index_shard(shard)
            problems += [f'{shard}: {problem}' for problem in index.problems]
            rows.append(np.insert(index.places_N5, 0, number, axis=1))
        places_N6 = np.concatenate(rows)
        if problems:
            said = f'{len(problems)} of {len(places_N6) + len(problems)} samples of the shards are not whole'
            shown = '; '.join(problems[:EXAMPLES])
            if self.damaged == 'refuse':
                raise DataError(f"{said} ({shown}). Make the shards again, or leave these out with damaged='report'.")
            logger.warning('%s and are left out: %s', said, shown)
        if not len(places_N6):
            raise DataError(f'the {len(self.shards)} shards hold no sample, such as {self.shards[0]}; {self.remedy}')
        return places_N6

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Read the caption of a sample and make its entry; the picture is left to the pipeline.

        Raises:
            DataError: If the caption cannot be read, or holds characters that no word may have.
        """
        number, picture, picture_size, caption, caption_size, is_json = self.data_list[idx].tolist()
        shard = self.shards[number]
        uri = member_uri(shard, caption, caption_size)
        try:
            text = read_member(uri).decode('utf-8')
            if is_json:
                text = json.loads(text)[self.caption_key]
            vocabulary, prompt = phrase_rows(text.strip(), *self.phrases)
        except (ValueError, KeyError, TypeError, AttributeError, VocabularyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f'{member_name(uri)}: no caption can be read ({type(error).__name__}: {error}); {self.remedy}'
            ) from error
        place = idx if idx >= 0 else len(self) + idx
        return dict(
            img_path=member_uri(shard, picture, picture_size),
            img_id=place,
            sample_idx=place,
            text=prompt.text,
            phrases=vocabulary.words,
            vocabulary=vocabulary,
            prompt=prompt,
            instances=[],
        )

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on sample ``idx``; None, after a warning, where it cannot be read and is to be left out.

        Raises:
            DataError: If it cannot be read, and ``damaged`` is 'refuse' or this is no training.
        """
        try:
            return super().prepare_data(idx)
        except DataError as error:
            if self.damaged == 'refuse' or self.test_mode:
                raise
            self._unreadable += 1
            logger.warning('%d samples could not be read in this process so far: %s', self._unreadable, error)
            return None
