"""What every open-vocabulary pixel head shares: embed, classify, refine, compare with labels.

Shapes: B images, C channels, D embedding width, K words of the request, H W pixels, h w cells. A head that
has a background puts it in column K, so its logits have K + 1 channels and label K means background.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from mmseg.models.losses import accuracy
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models.decode_heads.pixels import Pixels, join_gate
from vlm_dense.models.decode_heads.request_head import RequestHead
from vlm_dense.models.decode_heads.row_maps import GridMaps
from vlm_dense.registry import MODELS

IGNORE_INDEX = 255  # mmseg's value for pixels without a label
PIXEL_LOSS = {'type': 'mmseg.CrossEntropyLoss', 'avg_non_ignore': True}


class OVDecodeHead(RequestHead):
    """Turns backbone features into one score map per word of the request.

    The same role as mmseg's ``BaseDecodeHead``, which fixes the number of classes when it is built; here
    the words come with every call and nothing about them is kept.

    Args:
        classifier: Module called as ``classifier(dense_BDhw, text_KD, is_base_K)``.
        refine: Module from logits to logits of the same shape, run before the last enlargement.
        upsample: Factor by which refined logits are enlarged (bilinear).
        loss_decode: One mmseg loss, or several; those of the same name are added.
        loss_size: Where logits meet labels: 'labels' enlarges the logits, 'logits' picks the
            label nearest to every cell's centre (much cheaper with many words).
        ignore_index: Label that counts for nothing.
        align_corners: As in ``torch.nn.functional.interpolate``, for all resizing of logits.
        init_cfg: mmengine's initialisation settings.
    """

    def __init__(
        self,
        classifier: dict,
        refine: dict | None = None,
        upsample: int = 1,
        loss_decode: dict | Sequence[dict] = PIXEL_LOSS,
        loss_size: Literal['labels', 'logits'] = 'labels',
        ignore_index: int = IGNORE_INDEX,
        align_corners: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(align_corners, init_cfg)
        if loss_size not in ('labels', 'logits'):
            raise ConfigError(f"decode head: loss_size={loss_size!r}; choose 'labels' or 'logits'.")
        self.classifier = MODELS.build(classifier)
        self.refine = MODELS.build(refine) if refine else None
        self.upsample = upsample
        losses = [loss_decode] if isinstance(loss_decode, dict) else loss_decode
        self.losses_decode = nn.ModuleList(MODELS.build(loss) for loss in losses)
        self.loss_size = loss_size
        self.ignore_index = ignore_index

    @abstractmethod
    def embed(self, features: Sequence) -> Pixels:
        """Pixel embeddings from the backbone's outputs; needs no words."""

    def forward(self, features: Sequence, text_KD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """Logits of every word at every cell.

        Args:
            features: Outputs of the backbone or neck.
            text_KD: Word embeddings with unit rows.
            is_base_K: Boolean (K,), for classifiers that treat seen words apart.

        Returns:
            (B, K, h, w) or, with a background in the last channel, (B, K + 1, h, w).
        """
        return self.logits(self.embed(features), text_KD, is_base_K)

    def logits(self, pixels: Pixels, text_KD: Tensor, is_base_K: Tensor | None = None) -> Tensor:
        """`forward` from embedded pixels on, for pictures that are embedded together and asked for other words each."""
        maps = self.pixel_maps(pixels, text_KD, is_base_K)
        words_BKhw = maps.logits_BShw
        for size in maps.through:
            words_BKhw = self.resize(words_BKhw, size)
        return words_BKhw if maps.gate_B1hw is None else join_gate(words_BKhw, maps.gate_B1hw)

    def row_maps(self, features: Sequence, text_SD: Tensor, is_base_K: Tensor | None = None) -> GridMaps:
        """Refined logits of the classifier on its grid, and the gate if there is one.

        Where the classifier has a background, that is the last row.
        """
        return self.pixel_maps(self.embed(features), text_SD, is_base_K)

    def pixel_maps(self, pixels: Pixels, text_SD: Tensor, is_base_K: Tensor | None = None) -> GridMaps:
        """`row_maps` from embedded pixels on."""
        logits_BKhw = self.classifier(pixels.dense_BDhw, text_SD, is_base_K)
        if self.refine is not None:
            logits_BKhw = self.refine(logits_BKhw)
        height, width = logits_BKhw.shape[-2:]
        through: list[Sequence[int]] = [(height * self.upsample, width * self.upsample)]
        if pixels.gate_B1hw is not None:
            through.append(pixels.gate_B1hw.shape[-2:])
        return GridMaps(logits_BKhw, self.resize, through, pixels.gate_B1hw)

    def loss(
        self, features: Sequence, data_samples: Sequence, text_KD: Tensor, is_base_K: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Losses against ``gt_sem_seg``, whose labels index the rows of ``text_KD`` (K is the background).

        Raises:
            DataError: If a label is neither a word, nor the background, nor ``ignore_index``.
        """
        return self.compare(self(features, text_KD, is_base_K), data_samples)

    def compare(self, logits_BKhw: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """The losses of logits that are there; otherwise as `loss`."""
        labels_BHW = stack_labels(data_samples)
        if self.loss_size == 'logits':
            labels_BHW = pick_labels(labels_BHW, logits_BKhw.shape[-2:])
        else:
            logits_BKhw = self.resize(logits_BKhw, labels_BHW.shape[-2:])
        check_labels(labels_BHW, logits_BKhw.shape[1], self.ignore_index)
        losses: dict[str, Tensor] = {}
        for loss in self.losses_decode:
            name = str(loss.loss_name)
            value = loss(logits_BKhw, labels_BHW, ignore_index=self.ignore_index)
            losses[name] = losses[name] + value if name in losses else value
        losses['acc_seg'] = accuracy(logits_BKhw, labels_BHW, ignore_index=self.ignore_index)
        return losses


def stack_labels(data_samples: Sequence) -> Tensor:
    """Label maps of a batch, (B, H, W) int64."""
    return torch.cat([sample.gt_sem_seg.data for sample in data_samples]).long()


def pick_labels(labels_BHW: Tensor, size: Sequence[int]) -> Tensor:
    """The label nearest to the centre of every cell of a coarser grid, (B, h, w)."""
    picked_B1hw = functional.interpolate(labels_BHW[:, None].float(), tuple(size), mode='nearest-exact')
    return picked_B1hw[:, 0].long()


def check_labels(labels_BHW: Tensor, num_columns: int, ignore_index: int) -> None:
    """Refuse labels that no column of the logits stands for.

    Raises:
        ConfigError: If the ignored label is that of a column.
        DataError: Naming the first such label.
    """
    if 0 <= ignore_index < num_columns:
        raise ConfigError(
            f'ignore_index={ignore_index} is also the label of one of the {num_columns} words and background; set '
            "ignore_index=65535, and as much in the data_preprocessor: mmseg's seg_pad_val, mmdet's seg_pad_value."
        )
    is_wrong = ((labels_BHW < 0) | (labels_BHW >= num_columns)) & (labels_BHW != ignore_index)
    if is_wrong.any():
        label = int(labels_BHW[is_wrong][0])
        raise DataError(
            f'a label map holds {label}, but the words of its sample and the background fill only {num_columns} '
            f'columns (ignored: {ignore_index}); attach the vocabulary that the labels index, or remap them.'
        )
