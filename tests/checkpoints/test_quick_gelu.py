import hashlib
import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from vlm_dense.checkpoints import quick_gelu
from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.checkpoints.quick_gelu import Evidence, check_quick_gelu, evidence_in
from vlm_dense.errors import CheckpointError, MissingFileError


def test_the_message_names_the_architecture_that_fits() -> None:
    config = open_clip.get_model_config('ViT-B-16')
    with pytest.raises(CheckpointError) as caught:
        check_quick_gelu('ViT-B-16', config, Evidence(True, 'openai ViT-B-16'))
    assert str(caught.value) == (
        "weights need QuickGELU (found openai ViT-B-16) but the config of 'ViT-B-16' asks for GELU. "
        "Use name='ViT-B-16-quickgelu'."
    )
    config = open_clip.get_model_config('ViT-B-16-quickgelu')
    with pytest.raises(CheckpointError, match=r"need GELU .* asks for QuickGELU\. Use name='ViT-B-16'"):
        check_quick_gelu('ViT-B-16-quickgelu', config, Evidence(False, 'x'))
    with pytest.raises(CheckpointError, match="Register a copy of its config with 'quick_gelu': true"):
        check_quick_gelu('ViT-B-16-SigLIP', open_clip.get_model_config('ViT-B-16-SigLIP'), Evidence(True, 'x'))
    for evidence in (None, Evidence(True, 'x')):
        check_quick_gelu('ViT-B-16-quickgelu', config, evidence)


def test_every_tag_that_needs_it_is_refused_under_the_plain_name() -> None:
    """open_clip itself only warns; under the name that the message gives, each of them passes."""
    refused = 0
    for name, tag in open_clip.list_pretrained():
        settings = open_clip.get_pretrained_cfg(name, tag)
        if 'quick_gelu' not in settings:
            continue
        evidence = Evidence(bool(settings['quick_gelu']), f'{tag} {name}')
        if not name.endswith('-quickgelu'):
            refused += 1
            with pytest.raises(CheckpointError, match=f"Use name='{name}-quickgelu'"):
                check_quick_gelu(name, open_clip.get_model_config(name), evidence)
            name = f'{name}-quickgelu'
        check_quick_gelu(name, open_clip.get_model_config(name), evidence)
    assert refused >= 20


def test_a_tag_under_the_wrong_name(empty_home) -> None:
    """Said before the weights are looked for."""
    with pytest.raises(CheckpointError, match=r"found openai ViT-B-32\) .* Use name='ViT-B-32-quickgelu'"):
        find_open_clip('ViT-B-32', 'openai')
    with pytest.raises(MissingFileError, match='not on this machine'):
        find_open_clip('ViT-B-32-quickgelu', 'openai')


def weights(folder: Path, **metadata: str) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({'a': torch.ones(1)}, folder / 'w.safetensors', metadata=metadata or None)
    return folder / 'w.safetensors'


@pytest.mark.parametrize(
    ('name', 'config', 'expected'),
    [
        ('open_clip_config.json', {'model_cfg': {'quick_gelu': True}}, True),
        ('open_clip_config.json', {'model_cfg': {'embed_dim': 16}}, False),
        ('config.json', {'model_type': 'clip', 'text_config': {}, 'vision_config': {}}, True),
        ('config.json', {'model_type': 'clip_text_model', 'hidden_act': 'gelu'}, False),
        ('config.json', {'model_type': 'bert', 'hidden_act': 'gelu'}, None),
        (
            'config.json',
            {
                'model_type': 'clip',
                'text_config': {'hidden_act': 'gelu'},
                'vision_config': {},
                'vision_config_dict': {'hidden_act': 'gelu'},
            },
            False,
        ),
    ],
)
def test_configs_beside_the_weights(tmp_path: Path, name: str, config: dict, expected: bool | None) -> None:
    path = weights(tmp_path)
    (tmp_path / name).write_text(json.dumps(config))
    evidence = evidence_in(path)
    assert (evidence and evidence.quick_gelu) == expected
    assert evidence is None or name in evidence.found


def test_metadata_and_contradictions(tmp_path: Path) -> None:
    path = weights(tmp_path, quick_gelu='true')
    assert evidence_in(path) == Evidence(True, f"in the metadata of '{path}'")
    (tmp_path / 'open_clip_config.json').write_text('{"model_cfg": {}}')
    with pytest.raises(CheckpointError, match=r'needs QuickGELU by .* but GELU by'):
        evidence_in(path)
    halves = {'text_config': {'hidden_act': 'gelu'}, 'vision_config': {'hidden_act': 'quick_gelu'}}
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'clip', **halves}))
    with pytest.raises(CheckpointError, match="asks for \\['gelu', 'quick_gelu'\\]"):
        evidence_in(path)


def test_known_checksums(tmp_path: Path, monkeypatch) -> None:
    """A renamed copy of a file of open_clip's table is recognised."""
    path = tmp_path / 'renamed.bin'
    path.write_bytes(b'x')
    table = quick_gelu._checksums()
    assert '5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f' in table
    entry = ('ViT-B-16', 'openai', {'quick_gelu': True})
    monkeypatch.setattr(quick_gelu, '_checksums', lambda: {hashlib.sha256(b'x').hexdigest()[:8]: entry})
    assert evidence_in(path) == Evidence(True, 'openai ViT-B-16 by its SHA-256')


@pytest.mark.parametrize('suffix', ['', '-quickgelu'])
def test_without_evidence_the_name_decides(tiny: str, tmp_path: Path, suffix: str) -> None:
    torch.save(open_clip.create_model(tiny).state_dict(), tmp_path / 'w.pt')
    source = find_open_clip(tiny + suffix, str(tmp_path / 'w.pt'))
    assert source.evidence is None
    assert ('QuickGELU' in repr(load_open_clip(source))) == bool(suffix)
