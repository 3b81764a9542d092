"""detectron2's ResNet to those of mmdet and mmseg: stages `layer1` to `layer4` for `res2` to `res5`.

A ResNet with 3x3 convolutions in its stem (DeepLab's "R101c") has 64, 64 and 128 channels there: ``deep_stem=True,
stem_channels=128``. Weights of MSRA need ``style='caffe'``, those of torchvision and DeepLab ``style='pytorch'``.
"""

from vlm_dense.checkpoints.adapters.renaming import Rules, rename

RULES: Rules = (
    *(
        rule
        for stage in range(1, 5)
        for rule in (
            (rf'res{stage + 1}\.(\d+)\.conv(\d)\.norm\.', rf'layer{stage}.\1.bn\2.'),
            (rf'res{stage + 1}\.(\d+)\.conv(\d)\.', rf'layer{stage}.\1.conv\2.'),
            (rf'res{stage + 1}\.(\d+)\.shortcut\.norm\.', rf'layer{stage}.\1.downsample.1.'),
            (rf'res{stage + 1}\.(\d+)\.shortcut\.', rf'layer{stage}.\1.downsample.0.'),
        )
    ),
)
STEM: Rules = ((r'stem\.conv1\.norm\.', 'bn1.'), (r'stem\.conv1\.', 'conv1.'))
# Convolution, norm and activation, three times.
DEEP_STEM: Rules = tuple(
    rule
    for number in range(3)
    for rule in (
        (rf'stem\.conv{number + 1}\.norm\.', f'stem.{3 * number + 1}.'),
        (rf'stem\.conv{number + 1}\.', f'stem.{3 * number}.'),
    )
)


def resnet_name(name: str, deep_stem: bool = False) -> str | None:
    """mmdet's name of a weight, without ``backbone.`` before it; None where a ResNet has no such weight."""
    return rename(name, (*(DEEP_STEM if deep_stem else STEM), *RULES))
