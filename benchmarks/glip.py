"""GLIP with deep fusion, ours against mmdet's: the same weights, picture and prompts, side by side.

pip install --target PEER --no-deps transformers==4.37.2 tokenizers==0.15.2 huggingface_hub==0.20.3
python benchmarks/glip.py --peer PEER

mmdet 3.3's deep fusion runs on an old transformers only, so each side is a process of its own, and they are asked in
turn; mmdet's has PEER first on its path. Both run on two threads, with the served ops where mmcv is not compiled.
Weights are random (`configs/glip_swin_t.py`, BERT-base's sizes), with scores spread out so that detections differ; the
picture is noise of 480 x 640. Words are LVIS's: the first 3 and 80 in one prompt, all 1,203 in 31 prompts of up to 40.

Seconds are medians over rounds after one that is not counted, except at 1,203 words, where each side is asked once
after the smaller requests. Both keep what their users get: ours keeps the encoded words from picture to picture.
Memory is the peak of the resident set during a call. ``max_abs_diff`` is the largest difference, at any request, of
scores (in order) and of boxes (as shares of the picture's width) of the best 100 detections, mmdet's joined over its
prompts; detections of one word whose scores are nearer than 1e-4 may change places, and the nearest box is compared.

The last line is JSON: mmdet's seconds over ours as ``ratio_3``, ``ratio_80`` and ``ratio_1203``, our peak memory over
mmdet's as ``memory_*``, and ``max_abs_diff``.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'glip_swin_t.py'
PEER_CONFIG = 'mmdet::glip/glip_atss_swin-t_b_fpn_dyhead_pretrain_obj365.py'
HEIGHT, WIDTH = 480, 640
ROUNDS = {3: 5, 80: 3, 1203: 1}
PER_PROMPT = {3: -1, 80: -1, 1203: 40}
WANTED, NEAR = 100, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer', type=Path, required=True, help='folder of the old transformers')
    parser.add_argument('--side', choices=('ours', 'mmdet'), help=argparse.SUPPRESS)
    parser.add_argument('--work', type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments.side, arguments.work)
        return
    with tempfile.TemporaryDirectory() as work:
        compare(Path(work), arguments.peer)


def compare(work: Path, peer: Path) -> None:
    prepare(work)
    figures: dict[str, float] = {}
    differences = []
    with side('ours', work, None) as ours, side('mmdet', work, peer) as mmdet:
        for words, rounds in ROUNDS.items():
            answers: dict[str, list[dict]] = {'ours': [], 'mmdet': []}
            for round_ in range(rounds + (words < max(ROUNDS))):
                for name, process in (('ours', ours), ('mmdet', mmdet))[:: 1 if round_ % 2 else -1]:
                    answers[name].append(ask(process, words))
            seconds = {
                name: statistics.median(one['seconds'] for one in all_[-rounds:]) for name, all_ in answers.items()
            }
            peak = {name: max(one['peak'] for one in all_) for name, all_ in answers.items()}
            difference = largest_difference(*(load(work / f'{name}_{words}.pt') for name in ('ours', 'mmdet')))
            shown = ', '.join(f'{name} {seconds[name]:.2f} s {peak[name]:.0f} MB' for name in ('mmdet', 'ours'))
            ratio = seconds['mmdet'] / seconds['ours']
            print(f'{words:5d} words  {shown}, ratio {ratio:.2f}, difference {difference:.1e}', flush=True)
            figures[f'ratio_{words}'] = seconds['mmdet'] / seconds['ours']
            figures[f'memory_{words}'] = peak['ours'] / peak['mmdet']
            differences.append(difference)
    figures = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps({**figures, 'max_abs_diff': float(f'{max(differences):.2e}')}))


def prepare(work: Path) -> None:
    """Write what both sides read: BERT's folder, the weights, the picture."""
    from transformers import BertConfig

    import vlm_dense  # noqa: F401
    from vlm_dense.checkpoints.packages import MINILM, MINILM_FOLDER, packaged_file

    torch.manual_seed(0)
    bert = work / 'bert'
    bert.mkdir()
    BertConfig().save_pretrained(bert)
    package = Path(packaged_file(MINILM, MINILM_FOLDER))
    for name in ('vocab.txt', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'):
        if (package / name).is_file():
            shutil.copy(package / name, bert / name)
    model = our_model(work)
    spread_scores(model)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    torch.save(state, work / 'weights.pth')
    # mmdet reads BERT's weights from the folder before it loads those of the detector.
    prefix = 'language_model.language_backbone.body.model.'
    torch.save(
        {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)},
        bert / 'pytorch_model.bin',
    )
    torch.save(torch.randn(1, 3, HEIGHT, WIDTH), work / 'picture.pt')


def spread_scores(model: Any) -> None:
    """Random weights give every place nearly one score; these differ, as trained ones do."""
    with torch.no_grad():
        for name, weight in model.bbox_head.head.named_parameters():
            if name.startswith('dot_product_projection_text.weight'):
                weight.normal_(std=0.5)
            elif name == 'bias0':
                weight.fill_(-2.0)
            elif name == 'bbox_pred.weight':
                weight.normal_(std=0.02)
            elif 'dyhead_tower' in name and name.endswith(('conv.weight', 'offset.weight')):
                weight.mul_(3)


@contextmanager
def side(name: str, work: Path, peer: Path | None) -> Iterator[subprocess.Popen]:
    """A process that answers requests of one side."""
    places = [str(place) for place in (peer, ROOT) if place is not None]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(places), 'OMP_NUM_THREADS': '2', 'HF_HUB_OFFLINE': '1'}
    command = [sys.executable, '-W', 'ignore', __file__, '--side', name, '--work', str(work), '--peer', str(peer)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()


def ask(process: subprocess.Popen, words: int) -> dict:
    assert process.stdin is not None
    assert process.stdout is not None
    print(words, file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith('{'):
            return json.loads(line)
    sys.exit(f'the process {process.args} ended without an answer; run it by hand to see why')


def serve(name: str, work: Path) -> None:
    torch.set_num_threads(2)
    job = {'ours': our_job, 'mmdet': mmdet_job}[name](work)
    for line in sys.stdin:
        words = int(line)
        Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
        started = time.perf_counter()
        with torch.no_grad():
            found = job(words)
        seconds = time.perf_counter() - started
        torch.save({key: found[key] for key in ('bboxes', 'scores', 'labels')}, work / f'{name}_{words}.pt')
        print(json.dumps(dict(seconds=seconds, peak=peak_megabytes())), flush=True)


def peak_megabytes() -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith('VmHWM'))


def lvis_words() -> tuple[str, ...]:
    from mmdet.datasets import LVISV1Dataset

    return LVISV1Dataset.METAINFO['classes']


def metainfo() -> dict:
    shape = (HEIGHT, WIDTH)
    return dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))


def our_model(work: Path) -> Any:
    from mmengine.registry import init_default_scope

    from vlm_dense.engine import read_config
    from vlm_dense.registry import MODELS

    cfg = read_config(str(CONFIG))
    init_default_scope('mmdet')
    cfg.model.language_model.update(model=str(work / 'bert'), pretrained=False)
    cfg.model.backbone.init_cfg = None
    return MODELS.build(cfg.model)


def our_job(work: Path) -> Any:
    from mmdet.structures import DetDataSample

    from vlm_dense.text import Vocabulary

    model = our_model(work).eval()
    model.load_state_dict(load(work / 'weights.pth'))
    picture = load(work / 'picture.pt')
    names = lvis_words()

    def run(words: int) -> Any:
        model.test_cfg.words_per_prompt = PER_PROMPT[words] if PER_PROMPT[words] > 0 else None
        sample = DetDataSample(metainfo=dict(metainfo(), vocabulary=Vocabulary.from_words(names[:words])))
        return model.predict(picture, [sample])[0].pred_instances

    return run


def mmdet_job(work: Path) -> Any:
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmengine.hub import get_config
    from mmengine.registry import init_default_scope

    import vlm_dense  # noqa: F401  serves mmcv's ops

    cfg = get_config(PEER_CONFIG)
    init_default_scope('mmdet')
    cfg.model.language_model.name = cfg.model.bbox_head.lang_model_name = str(work / 'bert')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(load(work / 'weights.pth'))
    picture = load(work / 'picture.pt')
    names = lvis_words()

    def run(words: int) -> Any:
        model.test_cfg.chunked_size = PER_PROMPT[words]
        sample = DetDataSample(metainfo=dict(metainfo(), text=tuple(names[:words]), custom_entities=True))
        return model.predict(picture, [sample])[0].pred_instances

    return run


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def largest_difference(ours: dict, mmdet: dict) -> float:
    """Over scores in order, and boxes of equal labels with nearly equal scores."""
    best = mmdet['scores'].argsort(descending=True)[:WANTED]
    mmdet = {key: value[best] for key, value in mmdet.items()}
    ours = {key: value[:WANTED] for key, value in ours.items()}
    score = (ours['scores'] - mmdet['scores']).abs().max()
    return float(torch.stack([score, *(_nearest(ours, mmdet, row) for row in range(len(best)))]).max())


def _nearest(ours: dict, mmdet: dict, row: int) -> Tensor:
    near = ((mmdet['scores'] - ours['scores'][row]).abs() < NEAR) & (mmdet['labels'] == ours['labels'][row])
    near_last = (ours['scores'][row] - ours['scores'][-1]) < NEAR
    if not near.any():
        # At the end of the list equal scores may have pushed each other out.
        return torch.tensor(0.0 if near_last else float('inf'))
    return (mmdet['bboxes'][near] - ours['bboxes'][row]).abs().amax(dim=1).min() / WIDTH


if __name__ == '__main__':
    main()
