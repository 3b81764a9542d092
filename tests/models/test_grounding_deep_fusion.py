"""The whole head with deep fusion against mmdet's.

mmdet 3.3 fuses only with old versions of transformers, in a folder of their own:
``pip install --target DIR --no-deps transformers==4.37.2 tokenizers==0.15.2 huggingface_hub==0.20.3``; where the
environment variable VLM_DENSE_OLD_TRANSFORMERS names it, mmdet's head runs as it is. Elsewhere its text layers are
replaced by transformers' own, which differ by GLIP's clamps alone.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from grounding_parts import (
    METAS,
    TOKENS_OF_WORDS,
    assert_same_detections,
    prompt_of,
    pyramid,
    texts,
    their_samples,
    their_text,
    trimmed,
    truths,
    twice,
    with_same_weights,
)
from mmdet.models.dense_heads import atss_vlfusion_head
from mmengine.registry import init_default_scope
from torch import nn
from transformers.models.bert.modeling_bert import BertLayer

from vlm_dense.models.heads.grounding.detections import best_of

OLD = os.environ.get('VLM_DENSE_OLD_TRANSFORMERS', '')
HERE = Path(__file__).parent
TOLERANCE = 1e-4


class TheirTextLayer(BertLayer):
    def __init__(self, config: object, **clamps: bool) -> None:
        config._attn_implementation = 'eager'
        super().__init__(config)

    def forward(self, inputs: dict) -> dict:
        masks = inputs['lang']['masks'][:, None, None]
        hidden = super().forward(inputs['lang']['hidden'], (1.0 - masks) * torch.finfo().min)
        inputs['lang']['hidden'] = hidden[0] if isinstance(hidden, tuple) else hidden
        return inputs


@pytest.fixture(scope='module')
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, nn.Module]:
    init_default_scope('mmdet')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atss_vlfusion_head, 'BertEncoderLayer', TheirTextLayer)
        torch.manual_seed(0)
        return with_same_weights(tmp_path_factory.mktemp('bert'), fuse=True, max_per_img=12)


def test_several_prompts_give_the_best_of_what_mmdet_gives_for_each(heads: tuple[nn.Module, nn.Module]) -> None:
    head, other = heads
    maps, asked = pyramid(), [texts((12,)), texts((12,))]
    prompts = [prompt_of(text, row * len(TOKENS_OF_WORDS)) for row, text in enumerate(asked)]
    with torch.no_grad():
        found = head.predict(maps, prompts, METAS)
        singles = [other.predict(maps, their_text(twice(text)), their_samples()) for text in asked]
    for single in singles[1]:
        single.labels += len(TOKENS_OF_WORDS)
    assert_same_detections(found, [best_of(list(pair), 12) for pair in zip(*singles, strict=True)])


@pytest.mark.parametrize('counts', [(3, 2), (0, 0)])
def test_losses_are_mmdets(heads: tuple[nn.Module, nn.Module], counts: tuple[int, int]) -> None:
    head, other = heads
    maps, text, samples = pyramid(), texts(), truths(counts)
    found = head.loss(maps, text, trimmed(samples, 12))
    for name, loss in other.loss(maps, their_text(text), samples).items():
        torch.testing.assert_close(found[name], loss, atol=TOLERANCE, rtol=0)


def test_half_width_floats_stay_close(heads: tuple[nn.Module, nn.Module]) -> None:
    head, _ = heads
    maps, text, samples = pyramid(), texts(), trimmed(truths((3, 2)), 12)
    expected = head.loss(maps, text, samples)
    with torch.autocast('cpu', torch.bfloat16):
        found = head.loss(maps, text, samples)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, atol=0, rtol=0.05)
    head.zero_grad()
    sum(found.values()).backward()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())


@pytest.mark.slow
@pytest.mark.skipif(not OLD, reason='VLM_DENSE_OLD_TRANSFORMERS names no folder with transformers 4.37.2')
def test_boxes_scores_and_losses_are_mmdets_as_it_is(tmp_path: Path) -> None:
    paths = os.pathsep.join([OLD, str(HERE), str(HERE.parents[1])])
    run = subprocess.run(
        [sys.executable, str(HERE / 'fused_head_parity.py'), str(tmp_path)],
        env={**os.environ, 'PYTHONPATH': paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    differences = json.loads(run.stdout.splitlines()[-1])
    print(differences)
    assert differences.pop('detections') > 20
    assert len(differences) == 12
    assert max(differences.values()) <= TOLERANCE, differences
