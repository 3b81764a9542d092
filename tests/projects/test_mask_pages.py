"""What the pages of methods that name masks tell to type fits their recipes."""

import re
import shlex
from argparse import ArgumentParser

import pytest
from mmengine.config import DictAction
from recipes import CONFIGS, ROOT

from vlm_dense.engine import check_config, read_config
from vlm_dense.evaluation.protocols import find_protocol

PAGES = {
    name: (ROOT / 'projects' / name / 'README.md').read_text(encoding='utf-8')
    for name in ('ovseg', 'zegformer', 'zsseg')
}
COMMANDS = [
    (name, command)
    for name, page in PAGES.items()
    for block in re.findall(r'```bash\n(.*?)```', page, re.DOTALL)
    for command in block.replace('\\\n', ' ').strip().splitlines()
    if re.match(r'(bash tools/dist_train\.sh|python tools/(train|test)\.py) ', command)
]


@pytest.mark.parametrize(('name', 'command'), COMMANDS)
def test_commands_fit_the_recipes(name: str, command: str) -> None:
    parser = ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('--protocol')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    told, _ = parser.parse_known_args(shlex.split(command)[2:])
    assert told.config.startswith(f'configs/{name}_')
    check_config(read_config(str(ROOT / told.config), told.cfg_options))
    if told.protocol:
        assert find_protocol(told.protocol).kind == 'pixels'


@pytest.mark.parametrize('name', PAGES)
def test_every_recipe_is_on_its_page_and_every_path_is_there(name: str) -> None:
    page = PAGES[name]
    assert [path.name for path in CONFIGS.glob(f'{name}_*.py') if f'{path.name}`' not in page] == []
    named = re.findall(r'`((?:configs|tests|tools|vlm_dense)/[\w/.]+\.(?:py|sh|json))`', page)
    assert [path for path in named if not (ROOT / path).exists()] == []
