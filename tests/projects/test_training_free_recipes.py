"""The recipes that train nothing keep their treatment of pictures by every protocol, and no word counts as seen."""

from argparse import ArgumentParser

import numpy as np
import pytest
from mmengine.config import DictAction
from mmseg.registry import TRANSFORMS
from recipes import CONFIGS

from vlm_dense.engine.protocol_runs import set_protocol
from vlm_dense.engine.settings import read_config
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.text.vocabulary import Vocabulary

SHORT_SIDES = dict(
    maskclip_vit_b16=512, maskclip_rn50=512, sclip_vit_b16=336, clearclip_vit_b16=448, proxyclip_vit_b16=336
)


def part_of(recipe: str, protocol: str, *options: str) -> dict:
    """What is tested of a recipe by a protocol, with ``--cfg-options`` as on the command line."""
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    given = parser.parse_args(['--cfg-options', *options]).cfg_options if options else None
    config = read_config(str(CONFIGS / f'{recipe}.py'), given)
    set_protocol(config, find_protocol(protocol), out='there')
    (part,) = config.test_cfg.parts
    return part


def short_side(part: dict) -> int:
    (resize,) = [step for step in part['dataset']['pipeline'] if step['type'] == 'Resize']
    picture_HW3 = np.zeros((60, 80, 3), np.uint8)
    return min(TRANSFORMS.build(resize)(dict(img=picture_HW3))['img'].shape[:2])


@pytest.mark.parametrize(('protocol', 'count'), [('voc20', 20), ('context59', 59), ('cocostuff171', 171)])
@pytest.mark.parametrize('recipe', SHORT_SIDES)
def test_pictures_as_the_recipe_says_and_words_as_the_protocol_says(recipe: str, protocol: str, count: int) -> None:
    part = part_of(recipe, protocol)
    assert short_side(part) == SHORT_SIDES[recipe]
    vocabulary = Vocabulary.build(part['words'])
    assert len(vocabulary) == count
    assert not any(vocabulary.is_base)


def test_size_of_pictures_from_the_command_line() -> None:
    """As projects/maskclip/README.md has it for PASCAL Context."""
    readme = (CONFIGS.parent / 'projects' / 'maskclip' / 'README.md').read_text()
    option = 'test_dataloader.dataset.pipeline.1.scale=(2048,520)'
    assert f'--cfg-options "{option}"' in readme
    assert short_side(part_of('maskclip_vit_b16', 'context59', option)) == 520
