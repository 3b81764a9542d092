"""``vlm-dense fetch``: download weights, so that models built later find them on this machine."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  vlm-dense fetch open_clip:ViT-B-32-quickgelu:openai
  vlm-dense fetch hf:google-bert/bert-base-uncased
  vlm-dense fetch hf://OWNER/REPO/FILE@REVISION --to ./checkpoints
  vlm-dense fetch https://download.pytorch.org/models/resnet50-0676ba61.pth

VLM_DENSE_OFFLINE=1 and HF_HUB_OFFLINE=1 refuse. Weights are looked for in ./checkpoints, in the folders that
VLM_DENSE_WEIGHTS names, in Hugging Face's cache, in ~/.cache/clip and in the checkpoints of torch's hub."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to fetch, and where to put it."""
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        'spec',
        metavar='SPEC',
        help='open_clip:NAME:TAG, hf:OWNER/REPO[@REVISION] (config, tokenizer and weights), '
        'hf://OWNER/REPO/FILE[@REVISION], or a URL',
    )
    parser.add_argument('--to', type=Path, metavar='DIR', help="folder to put it in (default: its library's cache)")


def run(args: argparse.Namespace) -> int:
    """Fetch, and print the path of everything that is now here."""
    from vlm_dense.checkpoints import fetch  # takes seconds to import, which --help should not cost

    for path in fetch(args.spec, args.to and args.to.expanduser()):
        print(path)
    return 0
