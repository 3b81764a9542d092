"""The whole head with deep fusion against mmdet's, which only old versions of transformers run.

mmdet 3.3 needs them in a folder of their own:
``pip install --target DIR --no-deps transformers==4.37.2 tokenizers==0.15.2 huggingface_hub==0.20.3``; the environment
variable VLM_DENSE_OLD_TRANSFORMERS names it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OLD = os.environ.get('VLM_DENSE_OLD_TRANSFORMERS', '')
HERE = Path(__file__).parent
TOLERANCE = 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not OLD, reason='VLM_DENSE_OLD_TRANSFORMERS names no folder with transformers 4.37.2')
def test_boxes_scores_and_losses_are_mmdets(tmp_path: Path) -> None:
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
