"""Backbones of mmdet under the names that detectron2 gives them."""

from collections.abc import Mapping

from torch import Tensor


def detectron2_resnet(weights: Mapping[str, Tensor], deep_stem: bool) -> dict[str, Tensor]:
    """Written by hand from detectron2's modules, whose frozen norms count no batches."""
    made = {}
    stem = {f'stem.{3 * n}.': f'stem.conv{n + 1}.' for n in range(3)}
    stem |= {f'stem.{3 * n + 1}.': f'stem.conv{n + 1}.norm.' for n in range(3)}
    stem = stem if deep_stem else {'conv1.': 'stem.conv1.', 'bn1.': 'stem.conv1.norm.'}
    for name, weight in weights.items():
        start = next((start for start in stem if name.startswith(start)), None)
        if start:
            name = stem[start] + name.removeprefix(start)
        for stage in range(1, 5):
            name = name.replace(f'layer{stage}.', f'res{stage + 1}.')
        for number in range(1, 4):
            name = name.replace(f'.bn{number}.', f'.conv{number}.norm.') if name.startswith('res') else name
        name = name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')
        if not name.endswith('num_batches_tracked'):
            made[f'backbone.{name}'] = weight
    return made


def detectron2_swin(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names, with mmdet's order of the cells that a stage merges."""
    return {f'backbone.{_swin_name(name)}': weight for name, weight in weights.items()}


def _swin_name(name: str) -> str:
    for ours, their in (
        ('patch_embed.projection', 'patch_embed.proj'),
        ('stages.', 'layers.'),
        ('ffn.layers.0.0', 'mlp.fc1'),
        ('ffn.layers.1', 'mlp.fc2'),
        ('attn.w_msa', 'attn'),
    ):
        name = name.replace(ours, their)
    return name
