"""The data set of a config, or of annotations that lie beside pictures."""

import argparse
from pathlib import Path
from typing import Any

from vlm_dense.errors import ConfigError

KEPT = ('Load', 'Pack', 'Attach')  # how the steps begin that leave a picture as it is
READ = dict(type='LoadImageFromFile', imdecode_backend='pillow')


def build_dataset(args: argparse.Namespace) -> Any:
    """What the arguments name.

    Raises:
        ConfigError: If the config has no such split, or words are needed.
        VlmDenseError: If the data set cannot be built.
    """
    from mmengine.registry import init_default_scope

    from vlm_dense.registry import DATASETS

    if args.config is None:
        scope, described = _beside_pictures(args)
    else:
        scope, described = _of_config(args)
    init_default_scope(scope)
    dataset = DATASETS.build(described)
    if not len(dataset):
        raise ConfigError(f'{args.config or args.annotations} gives a data set without a picture; check its filters.')
    return dataset


def _of_config(args: argparse.Namespace) -> tuple[str, Any]:
    from mmengine.config import Config

    from vlm_dense.engine import check_config, read_config

    cfg = read_config(args.config, args.cfg_options)
    loader = cfg.get(f'{args.split}_dataloader')
    if not loader:
        splits = [split for split in ('train', 'val', 'test') if cfg.get(f'{split}_dataloader')]
        raise ConfigError(f'{args.config} has no {args.split}_dataloader. It has {", ".join(splits) or "none"}.')
    scope = cfg.get('default_scope') or 'mmdet'
    # The model and the rest need not be right to look at the data.
    check_config(Config({'default_scope': scope, f'{args.split}_dataloader': loader}))
    described = loader.dataset.to_dict()
    if args.raw:
        _strip(described)
    return scope, described


def _strip(described: Any) -> None:
    """Leave out every step that changes pictures, in data sets within data sets too."""
    if isinstance(described, list):
        for entry in described:
            _strip(entry)
    if not isinstance(described, dict):
        return
    for key, value in described.items():
        if key == 'pipeline' and isinstance(value, list):
            described[key] = [step for step in value if str(step['type']).rpartition('.')[2].startswith(KEPT)]
        else:
            _strip(value)


def _beside_pictures(args: argparse.Namespace) -> tuple[str, dict]:
    if args.annotations.is_dir():
        return 'mmseg', _label_maps(args)
    words = args.vocabulary or str(args.annotations)
    pipeline = [READ, dict(type='LoadAnnotations', with_bbox=True, with_mask=not args.no_masks)]
    return 'mmdet', dict(
        type='vlm_dense.VocabularyCocoDataset',
        ann_file=str(args.annotations),
        data_prefix=dict(img=str(args.pictures)),
        vocabulary=words,
        remedy='see what `vlm-dense data check` says of it.',
        pipeline=[*pipeline, dict(type='PackDetInputs'), dict(type='vlm_dense.AttachVocabulary', vocabulary=words)],
    )


def _label_maps(args: argparse.Namespace) -> dict:
    if args.vocabulary is None:
        raise ConfigError(
            f"label maps such as those of '{args.annotations}' do not name their words. Give --vocabulary."
        )
    return dict(
        type='vlm_dense.VocabularySegDataset',
        data_prefix=dict(img_path=str(args.pictures), seg_map_path=str(args.annotations)),
        vocabulary=args.vocabulary,
        img_suffix=args.picture_suffix,
        seg_map_suffix=args.map_suffix,
        first_label=args.first_label,
        pipeline=[
            READ,
            dict(type='vlm_dense.LoadLabelMap'),
            dict(type='PackSegInputs'),
            dict(type='vlm_dense.AttachVocabulary', vocabulary=args.vocabulary),
        ],
    )


def default_out(args: argparse.Namespace) -> Path:
    """Where the pictures go if nobody says."""
    if args.config is None:
        return Path('work_dirs/browse') / args.annotations.stem
    return Path('work_dirs/browse') / f'{Path(args.config).stem}_{args.split}{"_raw" if args.raw else ""}'
