"""The test loop of a protocol: predict what is not predicted yet, then score what is kept."""

import time
from collections.abc import Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import Sampler

from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.engine.processes import in_first_process
from vlm_dense.engine.protocol_runs.identity import (
    hash_settings,
    hash_weights,
    prompt_of,
    text_of,
    versions,
)
from vlm_dense.engine.protocol_runs.records import record_of
from vlm_dense.engine.protocol_runs.result import RESULT, make_result, table
from vlm_dense.engine.protocol_runs.scoring import identities, identity_of, score
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.errors import ConfigError
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.evaluation.report import write_json
from vlm_dense.registry import DATASETS, LOOPS
from vlm_dense.text.vocabulary import Vocabulary

PREDICTIONS = 'predictions'


class Rows(Sampler):
    """Given rows of a data set, in their order."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@LOOPS.register_module()
class ProtocolLoop(BaseLoop):
    """Predicts every picture once, whatever the number of processes and however often they were killed.

    Predictions go to ``out/predictions`` picture by picture; pictures that are there are not predicted again. Figures
    are made from the kept predictions alone.

    Args:
        runner: The runner.
        dataloader: How pictures are loaded; its data set and its sampler are replaced.
        protocol: Name of the protocol.
        parts: Per data set of the protocol ``name``, ``dataset`` with pipeline, ``metric``, ``truth`` and ``words``.
        out: Folder for the predictions and ``result.json``.
        recipe: The config's file.
        weights: The checkpoint's file, if there is one.
        evaluator: Not used; mmengine hands it to every test loop.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        protocol: str,
        parts: Sequence[dict],
        out: str,
        recipe: str | None = None,
        weights: str | None = None,
        evaluator: Any = None,
    ) -> None:
        self._runner = runner
        self.settings = dataloader
        self.protocol = find_protocol(protocol)
        self.parts = parts
        self.out = Path(out)
        self.recipe = recipe
        self.weights = weights
        self.dataloader: Any = ()

    def run(self) -> dict[str, float]:
        """Predict, score, and write the result; the figures, in percent.

        Raises:
            ConfigError: If ``out`` holds predictions of another run.
            DataError: If pictures and annotations contradict each other.
        """
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        weights = self._weights() if is_main_process() else {}
        figures, stores = {}, {}
        for part in self.parts:
            dataset = DATASETS.build(part['dataset'])
            store = stores[part['name']] = PredictionStore(self.out / PREDICTIONS / part['name'])
            names = identities(dataset)
            in_first_process(partial(self._begin, store, part, names, weights))
            self._predict(dataset, names, store)
            barrier()
            figures[part['name']] = score(part, dataset, names, store, part['words'])
        result = make_result(self.protocol, figures, stores, self.runner.model)
        if is_main_process():
            write_json(str(self.out / RESULT), result)
            print_log(table(result), logger='current')
        self.runner.call_hook('after_test_epoch', metrics=result['figures'])
        self.runner.call_hook('after_test')
        return result['figures']

    @property
    def _model(self) -> Any:
        return self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model

    def _weights(self) -> dict[str, str]:
        # A checkpoint can lack what is frozen, and a hook can put an average in place of what it holds.
        parameters = hash_weights(self._model)
        file = self.weights if self.weights and Path(self.weights).is_file() else None
        return dict(weights=file_sha256(file) if file else parameters, parameters=parameters)

    def _begin(self, store: PredictionStore, part: dict, names: Sequence[str | int], weights: dict[str, str]) -> None:
        words, bank = part['words'], getattr(self._model, 'text_bank', None)
        model = self.runner.cfg.model.to_dict()
        asked = dict(
            protocol=self.protocol.name,
            part=part['name'],
            pictures=hash_settings(sorted(map(repr, names))),
            config=hash_settings([model, part['dataset']['pipeline'][:-1]]),
            **weights,
            text=text_of(bank),
            vocabulary=None if words is None else Vocabulary.build(dict(words)).content_hash,
        )
        told = dict(
            recipe=self.recipe,
            checkpoint=self.weights,
            prompt=prompt_of(bank),
            words=words,
            test_cfg=model.get('test_cfg'),
            versions=versions(),
        )
        store.begin(asked, told)

    @torch.no_grad()
    def _predict(self, dataset: Any, names: Sequence[str | int], store: PredictionStore) -> None:
        finished = store.finished()
        remaining = [row for row, name in enumerate(names) if name not in finished]
        sampler = Rows(remaining[get_rank() :: get_world_size()])
        # Others may finish pictures from now on: everybody has to have looked first.
        barrier()
        settings = dict(self.settings, dataset=dataset, sampler=sampler, drop_last=False)
        if not len(sampler):
            return
        self.dataloader = self.runner.build_dataloader(settings, seed=self.runner.seed)
        known = set(names)
        try:
            for index, batch in enumerate(self.dataloader):
                self._predict_batch(index, batch, dataset, known, store)
        finally:
            store.close()

    def _predict_batch(
        self, index: int, batch: dict, dataset: Any, names: Set[str | int], store: PredictionStore
    ) -> None:
        self.runner.call_hook('before_test_iter', batch_idx=index, data_batch=batch)
        start = time.perf_counter()
        outputs = self.runner.model.test_step(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / len(outputs)
        for sample in outputs:
            name = identity_of(sample.metainfo, dataset.data_root)
            if name not in names:
                raise ConfigError(
                    f"the predictions of {name!r} do not say which picture they are of; put 'img_id' into meta_keys of "
                    'PackDetInputs in the test pipeline.'
                )
            store.add(name, record_of(sample, store), seconds)
        self.runner.call_hook('after_test_iter', batch_idx=index, data_batch=batch, outputs=outputs)
