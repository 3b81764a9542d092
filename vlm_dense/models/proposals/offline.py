"""A proposal network of its own, trained before and frozen."""

import os
from collections.abc import Callable
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from vlm_dense.checkpoints import find_weights, read_checkpoint
from vlm_dense.checkpoints.adapters import to_mmdet_proposals
from vlm_dense.checkpoints.coverage import load_weights, some, weights_of
from vlm_dense.errors import CheckpointError, ConfigError
from vlm_dense.registry import MODELS

HEADS = ('rpn_head', 'bbox_head')  # mmdet's RPN keeps its head under the second name
PARTS = ('backbone', 'neck')
COUNTER = 'num_batches_tracked'  # frozen batch norms have none


@MODELS.register_module()
class OfflineProposals(nn.Module):
    """Proposals of another detector with its own backbone, in eval mode and without gradient.

    RegionCLIP (arXiv:2112.09106), Sec. 3.1: an RPN trained on base boxes finds the regions; recognition learns
    elsewhere. Like `FrozenTower`, it has no parameters and no state dict, and follows the model's device.

    Args:
        model: Config of an mmdet ``RPN`` or two-stage detector with its ``data_preprocessor``; how many boxes it gives
            says its ``test_cfg.rpn``.
        config: In place of ``model``: path of a config that has it.
        checkpoint: Its weights, mmdet's or detectron2's names; None takes random ones that are the
            same in every process.

    Raises:
        ConfigError: If neither or both of ``model`` and ``config`` are given, or there is no proposal head.
        MissingFileError: If the weights are not on this machine.
        CheckpointError: If they do not fill backbone, neck and proposal head.
    """

    def __init__(
        self, model: dict | None = None, config: str | None = None, checkpoint: str | os.PathLike[str] | None = None
    ) -> None:
        super().__init__()
        if (model is None) == (config is None):
            raise ConfigError('OfflineProposals: give one of model=dict(...) and config=PATH.')
        settings = ConfigDict(model) if config is None else Config.fromfile(config).model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            built: Any = MODELS.build(settings)
        heads = [name for name in HEADS if hasattr(getattr(built, name, None), 'rpn_cls')]
        if not heads:
            raise ConfigError(f"OfflineProposals: {type(built).__name__} has no proposal head; take mmdet's RPN.")
        self._head = heads[0]
        if checkpoint is not None:
            self._fill(built, checkpoint)
        # Inside a tuple, a module is not registered as a child.
        self._held = (built.eval().requires_grad_(False),)

    @property
    def network(self) -> Any:
        """The detector that proposes."""
        return self._held[0]

    def _fill(self, network: nn.Module, checkpoint: str | os.PathLike[str]) -> None:
        weights = to_mmdet_proposals(weights_of(read_checkpoint(find_weights(checkpoint), 'cpu')))
        missing = load_weights(network, weights, f"'{checkpoint}'").unfilled
        lacking = [n for n in missing if n.split('.')[0] in (*PARTS, self._head) and not n.endswith(COUNTER)]
        if lacking:
            raise CheckpointError(
                f"'{checkpoint}' lacks {len(lacking)} weights of the proposal network ({some(lacking)}). "
                'Give the file that was trained with this model.'
            )

    @torch.no_grad()
    def forward(self, pictures_B3HW: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """As `ProposalSource`."""
        network = self.network
        images_B3HW = as_prepared(pictures_B3HW, network.data_preprocessor)
        return getattr(network, self._head).predict(network.extract_feat(images_B3HW), data_samples, rescale=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)


def as_prepared(pictures_B3HW: Tensor, preprocessor: Any) -> Tensor:
    """What a detector's preprocessor makes of a padded batch.

    Args:
        pictures_B3HW: RGB, 0..255.
        preprocessor: mmdet's ``DetDataPreprocessor``. mm pictures are BGR, so one that converts channels takes RGB.
    """
    images_B3HW = pictures_B3HW if preprocessor._channel_conversion else pictures_B3HW.flip(1)
    if not preprocessor._enable_normalize:
        return images_B3HW
    return (images_B3HW - preprocessor.mean) / preprocessor.std
