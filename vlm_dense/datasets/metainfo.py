"""What a data set knows about a picture, kept on its data sample."""

from mmengine.dataset import Compose


def keep_on_samples(pipeline: Compose, *keys: str) -> None:
    """Let the packing step of any recipe's pipeline keep these keys, though it was written without them.

    Args:
        pipeline: A built pipeline; its packing steps have ``meta_keys``.
        keys: What entries of the data set bring.
    """
    for step in pipeline.transforms:
        if hasattr(step, 'meta_keys'):
            step.meta_keys = (*step.meta_keys, *keys)
