"""What every shrunk recipe has: small pictures and narrow layers."""

from typing import Any

from mmengine.config import Config

SIDE = 96
NARROW = dict(conv_channels=16, fc_channels=32, conv_out_channels=16, feat_channels=16, max_per_img=20, nms_pre=40)


def loaders_of(config: Config) -> list[Any]:
    """The loaders of a config; a recipe without training has no first."""
    names = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [config[name] for name in names if config.get(name) is not None]


def steps_of(config: Config) -> list[Any]:
    """The steps of all pipelines, those of the parts of a mixture too."""
    datasets = [one for loader in loaders_of(config) for one in loader.dataset.get('datasets', [loader.dataset])]
    return [step for dataset in datasets for step in dataset.pipeline]


def narrow(settings: object) -> None:
    """Narrow layers, few regions, ordinary norms, small pictures; types and structure stay."""
    if isinstance(settings, list | tuple):
        for entry in settings:
            narrow(entry)
    if not isinstance(settings, dict):
        return
    if settings.get('type') == 'SyncBN':
        settings['type'] = 'BN'  # torch has no synchronised norm on CPUs
    if settings.get('type') == 'RandomResize':
        settings['scale'], settings['ratio_range'] = (SIDE, SIDE), (0.9, 1.1)
    if settings.get('type') == 'Resize':
        settings['scale'] = (SIDE, SIDE)
    if settings.get('type') == 'RandomChoiceResize':
        settings['scales'] = [(SIDE, SIDE)]
    if settings.get('type') == 'RandomCrop':
        settings['crop_size'] = (SIDE, SIDE)
    settings.update({key: value for key, value in NARROW.items() if key in settings})
    if settings.get('out_channels') == 256:
        settings['out_channels'] = 16
    if settings.get('in_channels') == 256:
        settings['in_channels'] = 16
    for value in settings.values():
        narrow(value)
