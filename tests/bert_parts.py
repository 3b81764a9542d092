"""A tiny BERT folder with a real vocabulary, for the tests of grounding detectors."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from vlm_dense.checkpoints.packages import MINILM, MINILM_FOLDER, packaged_file

WIDTH = 32


def bert_folder(folder: Path, weights: bool = True, **shape: Any) -> Path:
    """``config.json`` and ``vocab.txt`` of BERT, made small and without dropout, with random weights or none."""
    import transformers

    # Saving shows a bar of its progress.
    transformers.utils.logging.disable_progress_bar()
    size = dict(hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
    certain = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config = transformers.BertConfig(**(size | certain | shape))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(packaged_file(MINILM, f'{MINILM_FOLDER}/vocab.txt'), folder)
    if weights:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = transformers.BertModel(config)
            for parameter in model.parameters():
                parameter.data.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(folder)
    config.save_pretrained(folder)
    return folder


@cache
def tiny_bert() -> Path:
    """One such folder for the whole run of the tests."""
    folder = Path(mkdtemp(prefix='tiny-bert-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return bert_folder(folder)
