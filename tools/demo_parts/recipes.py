"""Which config each run takes: the recipes of configs/, or versions of them on an open_clip model."""

from pathlib import Path

from vlm_dense.errors import ConfigError

KINDS = {'words': '', 'shuffled': '_shuffled', 'closed': '_closed'}


def recipes(config: str, vlm: str | None, work_dir: Path) -> dict[str, str]:
    """The config of a method and of its two controls.

    Args:
        config: A recipe with the offline pair, beside which its controls lie.
        vlm: ``NAME:PRETRAINED`` of an open_clip model for the words and the teacher; None for the offline pair.
        work_dir: Where configs for ``vlm`` are written.

    Raises:
        ConfigError: If ``vlm`` is not of that form, or open_clip has no such model.
    """
    paths = {kind: config.replace('.py', f'{ending}.py') for kind, ending in KINDS.items()}
    if vlm is None:
        return paths
    name, pretrained, dim = parse_vlm(vlm)
    folder = work_dir / 'recipes'
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for kind, path in paths.items():
        written[kind] = str(folder / Path(path).name)
        Path(written[kind]).write_text(_recipe(path, kind, name, pretrained, dim), encoding='utf-8')
    return written


def parse_vlm(vlm: str) -> tuple[str, str, int]:
    """Name, pretrained and embedding width of an open_clip model."""
    import open_clip

    name, _, pretrained = vlm.partition(':')
    if not name or not pretrained:
        raise ConfigError(f'--vlm {vlm}: write NAME:PRETRAINED, for example ViT-B-32-quickgelu:openai.')
    settings = open_clip.get_model_config(name)
    if settings is None:
        raise ConfigError(f'--vlm {vlm}: open_clip has no model {name}; open_clip.list_models() names them.')
    return name, pretrained, settings['embed_dim']


def _recipe(path: str, kind: str, name: str, pretrained: str, dim: int) -> str:
    encoder = "dict(_delete_=True, type='vlm_dense.OpenClipTextEncoder', **clip)"
    bank = f"encoder={encoder}, prompt='a_photo'"
    bank = f'bank=dict({bank})' if kind == 'shuffled' else bank
    if 'fcclip' in path:
        # Not every model's last map speaks of its parts; crops are pictures, which all of them were trained on.
        tower = "dict(type='vlm_dense.OpenClipTower', **clip)"
        crops = f"dict(_delete_=True, type='vlm_dense.CropReader', style='crop', tower={tower})"
        reader = '' if kind == 'closed' else f', regions={crops}'
        changes = f'decode_head=dict(classifier=dict(embed_dim={dim})){reader}'
    else:
        projection = "dict(_delete_=True, type='Linear')"
        teacher = "dict(tower=dict(_delete_=True, type='vlm_dense.OpenClipTower', **clip), size=None)"
        branches = '' if kind == 'closed' else f', branches=dict(image=dict(teacher={teacher}))'
        changes = f'roi_head=dict(bbox_head=dict(embed_dim={dim}, projection={projection})){branches}'
    return (
        f'_base_ = [{str(Path(path).resolve())!r}]\n'
        f'clip = dict(name={name!r}, pretrained={pretrained!r})\n'
        f'model = dict(text_bank=dict({bank}), {changes})\n'
    )
