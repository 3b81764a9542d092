"""One recipe of `benchmarks/segmentors.py` in this process: what a picture takes at each number of words."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from process_memory import extra_megabytes, start_peak
from torch import Tensor
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
WORDS = {20: 'voc20', 150: 'ade20k_panoptic', 847: 'ade20k_847'}
HEIGHT, WIDTH, SMALL = 480, 640, (96, 128)
STAGES = ('text', 'tower', 'masks', 'fusion')
MOST_ROUNDS, SAMPLE = 5, 64


class Clock:
    """Wall and processor seconds of nested stages; what an inner stage takes is not the outer one's.

    Args:
        device: A GPU ends what it was asked to do before a stage begins or ends.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.open: list[str] = []
        self.last = (0.0, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._book()
        self.open.append(name)
        yield
        self._book()
        self.open.pop()

    def _book(self) -> None:
        if self.device == 'cuda':
            torch.cuda.synchronize()
        now = time.perf_counter(), time.process_time()
        if self.open:
            for place in (0, 1):
                self.spent[self.open[-1]][place] += now[place] - self.last[place]
        self.last = now

    def watch(self, owner: Any, method: str, stage: str) -> None:
        """From now on a method of an object is timed as a stage."""
        run = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return run(*args, **kwargs)

        setattr(owner, method, timed)


class RandomEncoder:
    """In place of a text encoder: random rows, and how many texts it was asked for."""

    fingerprint = 'random'

    def __init__(self, embed_dim: int) -> None:
        self.embed_dim = embed_dim
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        self.texts += texts
        rows_ND = torch.randn(len(texts), self.embed_dim)
        return functional.normalize(rows_ND, dim=1) if normalise else rows_ND


def without_weights(settings: Any) -> None:
    """Random weights wherever a config names a file of them."""
    for value in settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else ():
        without_weights(value)
    if isinstance(settings, dict):
        for key in {'pretrained', 'init_cfg'} & set(settings):
            settings[key] = None


def discs(size: Sequence[int], count: int) -> Tensor:
    """Logits (count, h, w) of discs from 1/12 to 2/3 of the height across, spread over the picture."""
    height, width = size
    number_N = torch.arange(count)
    across_N = height * torch.linspace(1 / 12, 2 / 3, count)
    row_N, column_N = (number_N * 0.618 % 1) * height, (number_N * 0.755 % 1) * width
    down_Nh = (torch.arange(height) + 0.5 - row_N[:, None]) ** 2
    right_Nw = (torch.arange(width) + 0.5 - column_N[:, None]) ** 2
    return across_N[:, None, None] / 2 - (down_Nh[:, :, None] + right_Nw[:, None, :]).sqrt()


class Segmentor:
    """A recipe's model with random weights and words, whose stages are timed."""

    def __init__(self, recipe: str, device: str) -> None:
        from mmengine.registry import init_default_scope

        from vlm_dense.engine import read_config
        from vlm_dense.registry import MODELS
        from vlm_dense.text import TextBank, Vocabulary

        cfg = read_config(str(ROOT / 'configs' / f'{recipe}.py'))
        init_default_scope(cfg.default_scope)
        self.scope, model = cfg.default_scope, cfg.model
        self.short = min(step.scale for step in cfg.test_dataloader.dataset.pipeline if 'Resize' in step.type)
        self.short = min(self.short) if isinstance(self.short, Sequence) else self.short
        shares = sorted(model.test_cfg.pop('scales', [1.0]))
        self.short = round(self.short * shares[(len(shares) - 1) // 2])
        model.test_cfg.pop('flip', None)
        without_weights(model)
        model.pop('clip', None)
        self.encoders: list[tuple[Any, RandomEncoder]] = []
        for name in [name for name in ('text_bank', 'region_bank') if name in model]:
            settings = dict(model[name])
            settings.pop('type')
            encoder = MODELS.build(settings['encoder'])
            self.encoders.append((encoder, RandomEncoder(encoder.embed_dim)))
            model[name] = TextBank(**{**settings, 'encoder': self.encoders[-1][1], 'cache_dir': None})
        torch.manual_seed(0)
        self.model: Any = MODELS.build(model).eval().to(device)
        self.device, self.clock = device, Clock(device)
        self._watch()
        self.vocabularies = {}
        for size, name in WORDS.items():
            words = Vocabulary.from_file(ROOT / 'vlm_dense' / 'datasets' / 'vocabularies' / f'{name}.json')
            assert len(words) == size
            self.vocabularies[size] = replace(words, is_base=tuple(row % 2 == 0 for row in range(size)))

    def _watch(self) -> None:
        model, watch = self.model, self.clock.watch
        self.head: Any = model.mask_head if hasattr(model, 'mask_head') else model.decode_head
        self.regions: Any = getattr(model, 'regions', None)
        watch(model, 'asked_words' if hasattr(model, 'asked_words') else 'request', 'text')
        is_module = isinstance(model.backbone, torch.nn.Module)
        watch(model.backbone if is_module else model, 'forward' if is_module else 'backbone', 'tower')
        if hasattr(self.head, 'rec_with_attnbias'):
            watch(self.head.rec_with_attnbias, 'forward', 'tower')
        if not hasattr(self.head, 'segments'):
            watch(self.head, 'embed', 'masks')
            return
        watch(self.head, 'segments', 'masks')
        find, made = self.head.segments, {}

        def segments(*args: Any, **kwargs: Any) -> Any:
            found = find(*args, **kwargs)
            shape = found.mask_BNhw.shape
            if shape not in made:
                made[shape] = discs(shape[2:], shape[1])[None].expand(shape).to(self.device)
            return found._replace(mask_BNhw=made[shape])

        self.head.segments = segments
        if hasattr(self.regions, 'crops'):
            self._keep_rows()
        if self.regions is not None:
            watch(self.regions, 'forward', 'tower')

    def _keep_rows(self) -> None:
        """Regions are read when `rows` is None, and else answered from there."""
        from vlm_dense.models.regions import RegionRows

        tower, read = self.regions.tower, self.regions.forward
        embed, queries = tower.embed_images, self.head.num_queries
        row_1ND = functional.normalize(torch.randn(1, queries, tower.embed_dim, device=self.device), dim=-1)
        empty_1N = torch.zeros(1, queries, dtype=torch.bool, device=self.device)
        self.rows: Any = RegionRows(row_1ND, empty_1N)  # for the small picture

        def embed_images(images_N3SS: Tensor, *masks: Tensor) -> Tensor:
            self.crops_read += len(images_N3SS)
            return embed(images_N3SS, *masks)

        def forward(*args: Any) -> Any:
            if self.rows is None:
                with self.clock.stage('crops'):
                    self.rows = read(*args)
                assert self.crops_read == self.rows.empty_BN.numel(), 'crops were left out'
            return self.rows

        tower.embed_images = embed_images
        self.regions.forward = forward

    def __call__(self, words: int, size: Sequence[int] | None = None) -> dict[str, Any]:
        """Wall and processor seconds by stage, and memory in MB."""
        from mmdet.structures import DetDataSample
        from mmseg.structures import SegDataSample

        original = (HEIGHT, WIDTH) if size is None else size
        shape = (self.short, round(self.short * WIDTH / HEIGHT)) if size is None else size
        image_3HW = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
        meta = dict(img_shape=shape, ori_shape=original, img_id=0, vocabulary=self.vocabularies[words])
        sample = (DetDataSample if self.scope == 'mmdet' else SegDataSample)(metainfo=meta)
        self.clock.spent.clear()
        self.crops_read = 0
        before = start_peak(self.device)
        with torch.inference_mode(), self.clock.stage('fusion'):
            (found,) = self.model.test_step(dict(inputs=[image_3HW], data_samples=[sample]))
        assert found.pred_sem_seg.data.shape[-2:] == original
        peak, extra = extra_megabytes(before, self.device)
        return dict(spent=dict(self.clock.spent), peak=peak, extra=extra)


def measure(recipe: str, seconds: float, reread: bool, device: str) -> dict[str, Any]:
    """Rows of the table by number of words, and what encoding the words takes."""
    segmentor = Segmentor(recipe, device)
    texts = {}
    for size in WORDS:
        segmentor(size, SMALL)
        texts[size] = [list(random.texts) for _, random in segmentor.encoders]
        for _, random in segmentor.encoders:
            random.texts.clear()
    runs: dict[int, list[dict]] = {size: [] for size in WORDS}
    crops: dict[str, Any] = {}
    segmentor.rows = None
    started = time.perf_counter()
    while not (rounds := len(runs[847])) or (rounds < MOST_ROUNDS and time.perf_counter() - started < seconds):
        for size in list(WORDS)[:: 1 if rounds % 2 else -1]:
            if reread:
                segmentor.rows = None
            run = segmentor(size)
            read = run['spent'].pop('crops', None)
            if read:
                crops = dict(read=read, peak=run['peak'], extra=run['extra'])
            runs[size].append(run if not crops else with_crops(run, crops))
    assert not any(random.texts for _, random in segmentor.encoders), 'words were encoded again'
    rows = {size: row_of(some, device) for size, some in runs.items()}
    per_text = [seconds_per_text(real, texts[847][place]) for place, (real, _) in enumerate(segmentor.encoders)]
    first = {
        size: (sum(map(len, lists)), sum(len(one) * each for one, each in zip(lists, per_text, strict=True)))
        for size, lists in texts.items()
    }
    return dict(rounds=len(runs[847]), short=segmentor.short, rows=rows, first=first)


def with_crops(run: dict, crops: dict) -> dict:
    """A picture whose crops were read earlier, as if they had been read now."""
    spent = dict(run['spent'])
    spent['tower'] = [a + b for a, b in zip(spent['tower'], crops['read'], strict=True)]
    return dict(spent=spent, **{name: max(run[name], crops[name]) for name in ('peak', 'extra')})


def row_of(runs: Sequence[dict], device: str) -> dict[str, Any]:
    """Medians; ``busy`` are the seconds that shares and growth are of."""
    wall, cpu = (
        statistics.median(sum(stage[place] for stage in run['spent'].values()) for run in runs) for place in (0, 1)
    )
    place, busy = (0, wall) if device == 'cuda' else (1, cpu)
    shares = {name: statistics.median(run['spent'][name][place] for run in runs) / busy for name in STAGES}
    memory = {key: max(run[key] for run in runs) for key in ('peak', 'extra')}
    return dict(wall=wall, cpu=cpu, busy=busy, shares=shares, **memory)


def seconds_per_text(encoder: Any, texts: Sequence[str]) -> float:
    """Of some texts of the median length, which are encoded in full batches."""
    counts = encoder.count_tokens(texts)
    usual = statistics.median_low(counts)
    sample = [text for text, count in zip(texts, counts, strict=True) if count == usual][:SAMPLE]
    encoder.encode(sample[:1])
    started = time.process_time()
    encoder.encode(sample)
    return (time.process_time() - started) / len(sample)
