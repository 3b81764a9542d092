"""Text banks: cold, warm and class by class, side by side.

python benchmarks/text_bank.py

Encoder: the text half of open_clip's ViT-S-32-alt (10 layers of width 384, 77 tokens), with random weights in a file:
weights do not change times. Prompt set: 'single' ("a photo of a {}."). Words: COCO's 80, LVIS's 1,203, and 21,000 made
of a colour or material and an LVIS name. Every measurement runs in a process of its own, weights loaded beforehand:

* cold: ``TextBank`` with an empty cache folder,
* warm: the same call in a new process, with the folder that cold left; no weights are loaded, and the SHA-256 of their
  file, which names the bank, is taken beforehand ("identify", with the imports that making an encoder needs),
* class by class: ``open_clip.build_zero_shot_classifier`` with one class per batch, as public repositories do. At
  21,000 words on every 70th of them, times 70.

Peak memory is that of the whole process: class by class, cold, warm. The ratios of the last line are the smallest over
the three sizes: class by class over cold, and cold over warm.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARCHITECTURE = 'ViT-S-32-alt'
SIZES = (80, 1203, 21000)
SAMPLE_FROM, SAMPLE_STEP = 10000, 70
KINDS = (
    *('plain', 'red', 'green', 'blue', 'black', 'white', 'old', 'new', 'large', 'small'),
    *('wooden', 'metal', 'plastic', 'paper', 'glass', 'toy', 'broken', 'wet'),
)


def words_of(size: int) -> list[str]:
    from vlm_dense.text import Vocabulary

    if size == SIZES[0]:
        return list(Vocabulary.build('coco').words)
    names = [name.replace('_', ' ') for name in Vocabulary.build('lvis_v1').words]
    return names if size == len(names) else [f'{kind} {name}' for kind in KINDS for name in names][:size]


def measure_bank(weights: str, cache: str, size: int, is_cold: bool) -> dict[str, float]:
    from vlm_dense.text import OpenClipTextEncoder, TextBank, Vocabulary

    vocabulary = Vocabulary.from_words(words_of(size))
    started = time.perf_counter()
    encoder = OpenClipTextEncoder(ARCHITECTURE, weights)
    bank = TextBank(encoder, 'single', cache_dir=cache)
    encoder.fingerprint  # noqa: B018  hashes the file of the weights
    identify = time.perf_counter() - started
    if is_cold:
        encoder.encode(['warm up'])
    started = time.perf_counter()
    text_KD = bank(vocabulary)
    seconds = time.perf_counter() - started
    assert len(text_KD) == size
    return dict(seconds=seconds, identify=identify, peak_mb=peak_mb())


def measure_peer(weights: str, size: int) -> dict[str, float]:
    import open_clip

    model = open_clip.create_model(ARCHITECTURE, pretrained=weights).eval()
    tokenizer = open_clip.get_tokenizer(ARCHITECTURE)
    step = SAMPLE_STEP if size > SAMPLE_FROM else 1
    words = words_of(size)[::step]
    template = ['a photo of a {}.'.format]
    open_clip.build_zero_shot_classifier(model, tokenizer, words[:1], template, num_classes_per_batch=1)
    started = time.perf_counter()
    open_clip.build_zero_shot_classifier(model, tokenizer, words, template, num_classes_per_batch=1)
    seconds = (time.perf_counter() - started) * step
    return dict(seconds=seconds, peak_mb=peak_mb())


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_process(*words: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    import open_clip
    import torch

    results: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / 'weights.pt')
        torch.save(open_clip.create_model(ARCHITECTURE).state_dict(), weights)
        titles = ('class by class', 'cold', 'warm', 'identify', 'peak MB p/c/w', 'peer/cold', 'cold/warm')
        print(f'{"words":>7}' + ''.join(f'{title:>16}' for title in titles))
        for size in SIZES:
            peer = in_process('--peer', weights, '--size', str(size))
            cold, warm = (
                in_process(kind, weights, '--cache', f'{folder}/{size}', '--size', str(size))
                for kind in ('--cold', '--warm')
            )
            row = dict(
                peer_s=peer['seconds'],
                cold_s=cold['seconds'],
                warm_s=warm['seconds'],
                **{f'{name}_mb': run['peak_mb'] for name, run in (('peer', peer), ('cold', cold), ('warm', warm))},
                cold_ratio=peer['seconds'] / cold['seconds'],
                warm_ratio=cold['seconds'] / warm['seconds'],
            )
            peaks = '/'.join(f'{row[name]:.0f}' for name in ('peer_mb', 'cold_mb', 'warm_mb'))
            results[str(size)] = {name: round(value, 4) for name, value in row.items()}
            print(
                f'{size:7}{row["peer_s"]:14.2f} s{row["cold_s"]:14.2f} s{row["warm_s"]:14.4f} s'
                f'{warm["identify"]:14.2f} s{peaks:>16}{row["cold_ratio"]:16.1f}{row["warm_ratio"]:16.0f}',
                flush=True,
            )
    ratios = {name: min(row[name] for row in results.values()) for name in ('cold_ratio', 'warm_ratio')}
    print(json.dumps({**ratios, 'encoder': ARCHITECTURE, 'prompt': 'single', 'sizes': results}))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--cache', help=argparse.SUPPRESS)
    for kind in ('--cold', '--warm', '--peer'):
        parser.add_argument(kind, metavar='WEIGHTS', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(json.dumps(measure_peer(args.peer, args.size)))
    elif args.cold or args.warm:
        print(json.dumps(measure_bank(args.cold or args.warm, args.cache, args.size, bool(args.cold))))
    else:
        main()
