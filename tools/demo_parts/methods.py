"""The methods that have a recipe for the built-in pictures, and the pictures themselves."""

import json
import subprocess
import sys
from pathlib import Path

from demo_parts.controls import Method

BOXES = (('novel_ap50', 'base_ap50'), ('bbox', 'ap50'))
PIXELS = (('unseen_miou', 'seen_miou'), (None, 'iou'))
METHODS = {
    'vild': Method('ViLD', 'configs/vild_lite0_pictures.py', *BOXES),
    'fvlm': Method('F-VLM', 'configs/fvlm_lite0_pictures.py', *BOXES),
    'glip': Method('GLIP', 'configs/glip_lite0_pictures.py', *BOXES),
    'regionclip': Method(
        'RegionCLIP', 'configs/regionclip_lite0_pictures.py', *BOXES, 'configs/regionclip_lite0_pictures_pretrain.py'
    ),
    'lseg': Method('LSeg', 'configs/lseg_lite0_pictures.py', *PIXELS),
    'zegformer': Method('ZegFormer', 'configs/zegformer_lite0_pictures.py', *PIXELS),
    'zsseg': Method('ZSSeg', 'configs/zsseg_lite0_pictures.py', *PIXELS),
    'fcclip': Method('FC-CLIP', 'configs/fcclip_lite0_pictures.py', *PIXELS),
    'maskclip': Method('MaskCLIP', 'configs/maskclip_lite0_pictures.py', *PIXELS),
}


def compose(seed: int, source: str) -> dict:
    """Compose the built-in pictures where they are not there yet, and return their word list."""
    command = [sys.executable, 'tools/data/compose_pictures.py', '--vlm-center', '--source', source]
    # It shows its own progress and says what went wrong.
    done = subprocess.run([*command, '--seed', str(seed)], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(Path('data/pictures/vocabulary.json').read_text(encoding='utf-8'))
