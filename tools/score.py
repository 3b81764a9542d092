"""Score kept predictions again: ``python tools/score.py DIR`` (see ``--help``)."""

import sys
from pathlib import Path

# Recipes name modules of projects/, which lies beside this folder and is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import vlm_dense  # noqa: F401  before mmdet and mmseg: it serves mmcv's ops
from vlm_dense.engine.command_line import run_scoring

if __name__ == '__main__':
    sys.exit(run_scoring())
