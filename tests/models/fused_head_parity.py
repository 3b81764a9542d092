"""Our head and mmdet's with deep fusion, in a process whose transformers is old enough for mmdet's.

Prints one line of JSON: the largest differences, and how much was compared.
"""

import json
import sys
from pathlib import Path

import torch
from grounding_parts import (
    METAS,
    prompt_of,
    pyramid,
    texts,
    their_samples,
    their_text,
    trimmed,
    truths,
    twice,
    with_same_weights,
)
from mmengine.registry import init_default_scope


def main(folder: Path) -> None:
    torch.manual_seed(0)
    init_default_scope('mmdet')
    head, other = with_same_weights(folder, fuse=True)
    differences: dict[str, float] = {'detections': 0, 'boxes': 0.0, 'scores': 0.0, 'labels': 0}
    maps, text = pyramid(), texts((12,))
    with torch.no_grad():
        expected = other.predict(maps, their_text(twice(text)), their_samples())
        found = head.predict(maps, [prompt_of(text)], METAS)
    for one, like in zip(found, expected, strict=True):
        differences['detections'] += len(like)
        differences['boxes'] = max(differences['boxes'], float((one.bboxes - like.bboxes).abs().max()))
        differences['scores'] = max(differences['scores'], float((one.scores - like.scores).abs().max()))
        differences['labels'] += int((one.labels != like.labels).sum())
    for counts in ((3, 2), (2, 0), (0, 0)):
        text, samples = texts((12, 9)), truths(counts)
        expected = other.loss(maps, their_text(text), samples)
        found = head.loss(maps, text, trimmed(samples, 12))
        for name, loss in expected.items():
            key = f'{name} with {counts[0]} and {counts[1]} objects'
            differences[key] = float((found[name] - loss).abs())
    print(json.dumps(differences))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
