"""Every recipe stands in one metafile of projects/, and what stands there exists."""

import yaml
from recipes import CONFIGS, ROOT

# Recipes with another one's weights, or without words, that show what words contribute.
CONTROLS = ('_shuffled', '_closed')
METAFILES = {path: yaml.safe_load(path.read_text(encoding='utf-8')) for path in ROOT.glob('projects/*/metafile.yml')}
MODELS = [model for content in METAFILES.values() for model in content['Models']]


def test_every_recipe_is_in_one_metafile() -> None:
    recipes = sorted(f'configs/{path.name}' for path in CONFIGS.glob('*.py') if not path.stem.endswith(CONTROLS))
    assert sorted(model['Config'] for model in MODELS if not model['Name'].endswith(CONTROLS)) == recipes


def test_every_method_has_a_metafile_and_every_name_fits() -> None:
    assert {path.parent for path in METAFILES} == {path.parent for path in ROOT.glob('projects/*/README.md')}
    for content in METAFILES.values():
        (collection,) = content['Collections']
        assert (ROOT / collection['README']).is_file()
        for model in content['Models']:
            assert model['In Collection'] == collection['Name']
            assert model['Config'] == f'configs/{model["Name"]}.py'
            assert (ROOT / model['Config']).is_file()
