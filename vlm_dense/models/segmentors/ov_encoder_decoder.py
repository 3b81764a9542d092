"""An encoder-decoder that labels pixels with the words of the request.

Shapes: B images, D embedding width, K words of the request, H W pixels. Where the decode head has a
background, score maps have K + 1 channels and the last one is the background.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.row_maps import RowMaps
from vlm_dense.models.requests import WordRows, vocabulary_of
from vlm_dense.models.segmentors.picture_maps import PictureMaps, View, Window
from vlm_dense.models.segmentors.views import Looks, check_names, looks_of, views_of
from vlm_dense.models.sizes import by_size
from vlm_dense.registry import MODELS, build_part


@MODELS.register_module()
class OVEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with an open vocabulary.

    The words come in the metainfo of the data samples (``vlm_dense.AttachVocabulary``) and stay on the
    predictions: label k of ``pred_sem_seg`` is word k, label K is the background. Nothing of a vocabulary
    is stored, and the text encoder is no part of the state dict.

    Args:
        backbone: As in mmseg.
        decode_head: A head of ``vlm_dense.models.decode_heads``.
        text_bank: ``vlm_dense.TextBank`` or anything with its call.
        kwargs: Other arguments of mmseg's class. ``test_cfg`` is ``dict(mode='whole')`` (the default) or
            ``dict(mode='slide', crop_size=(h, w), stride=(h, w))``. ``scales``, ``flip`` and ``size_multiple`` are
            those of `Looks`: each view is read in this mode, and what ``labels`` of the head gets is the mean of all
            views at the original size. The best word of every pixel is found without holding the score maps of all
            words: ``words_at_once`` changes memory, not results (default: as many as fill 16 MiB).
            ``keep_scores=True`` puts all maps on the samples as ``seg_logits``, (K, H, W) floats.

    Raises:
        ConfigError: If ``test_cfg`` holds other settings, or views of no use.
    """

    test_settings: frozenset[str] = frozenset(
        {'mode', 'crop_size', 'stride', 'words_at_once', 'keep_scores', *Looks._fields}
    )

    def __init__(self, backbone: dict, decode_head: dict, text_bank: Any, **kwargs: object) -> None:
        super().__init__(backbone=backbone, decode_head=decode_head, **kwargs)
        self.text_bank = build_part(text_bank)
        check_names(self.test_cfg, self.test_settings)
        looks_of(self.test_cfg)

    def _init_decode_head(self, decode_head: dict) -> None:
        # mmseg also copies num_classes and out_channels here: an open vocabulary has neither.
        self.decode_head = MODELS.build(decode_head)
        self.align_corners = self.decode_head.align_corners

    def request(self, data_samples: Sequence | None, device: torch.device) -> WordRows:
        """The words that the samples ask for, as rows of the decode head's choice, on the device of the pictures.

        Raises:
            ConfigError: If the samples carry no vocabulary or different ones.
        """
        vocabulary = vocabulary_of(data_samples or [])
        is_base_K = torch.tensor(vocabulary.is_base, dtype=torch.bool, device=device)
        return WordRows(self.decode_head.rows(self.text_bank, vocabulary).to(device), is_base_K)

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Losses of a batch; labels index the attached vocabulary."""
        features = self.extract_feat(inputs)
        losses = self._decode_losses(features, data_samples, inputs.device)
        named = {f'decode.{name}': value for name, value in losses.items()}
        if self.with_auxiliary_head:
            named.update(self._auxiliary_head_forward_train(features, data_samples))
        return named

    def _decode_losses(self, features: Sequence, data_samples: Sequence, device: torch.device) -> dict[str, Tensor]:
        return self.decode_head.loss(features, data_samples, *self.request(data_samples, device))

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None) -> Sequence:
        """Labels (``pred_sem_seg``) at every picture's original size; with ``keep_scores`` also ``seg_logits``.

        Padding is taken off first, and pictures of different sizes are answered one size after the other.

        Args:
            inputs: Normalised images (B, 3, H, W).
            data_samples: One per image, with a vocabulary.

        Returns:
            The same samples, with predictions; their ``vocabulary`` names the labels.

        Raises:
            ConfigError: If no vocabulary came with the samples.
        """
        words = self.request(data_samples, inputs.device)
        samples = list(data_samples or [])
        for rows, images_B3HW in by_size([_unpadded(*pair) for pair in zip(inputs, samples, strict=True)]):
            found = self.inference(images_B3HW, *words)
            for picture, row in enumerate(rows):
                self._label(samples[row], found, picture)
        return samples

    def _label(self, sample: Any, found: Sequence[View], picture: int) -> None:
        """Put the predictions for one picture of a batch on its sample."""
        test_cfg = self.test_cfg or {}
        head, vocabulary = self.decode_head, vocabulary_of([sample])
        maps = PictureMaps(found, picture, sample.metainfo, head.resize, test_cfg.get('words_at_once'))
        keeps = test_cfg.get('keep_scores', False)
        parts = list(maps) if keeps else maps
        sample.set_data(dict(pred_sem_seg=PixelData(data=head.labels(parts, vocabulary)[None])))
        if keeps:
            scores_KHW = head.scores(torch.cat([part_sHW for _, part_sHW in parts]), vocabulary)
            sample.set_data(dict(seg_logits=PixelData(data=scores_KHW)))

    def _forward(self, inputs: Tensor, data_samples: Sequence | None = None) -> Tensor:
        """Raw logits (B, K, h, w), or pixel embeddings (B, D, h, w) where no words are given."""
        features = self.extract_feat(inputs)
        if not data_samples:
            return self.decode_head.embed(features).dense_BDhw
        return self.decode_head(features, *self.request(data_samples, inputs.device))

    def encode_decode(self, inputs: Tensor, text_KD: Tensor, is_base_K: Tensor) -> RowMaps:
        """What the head says about pictures or windows of them, on its own grid."""
        return self.decode_head.row_maps(self.extract_feat(inputs), text_KD, is_base_K)

    def inference(self, inputs: Tensor, *words: Any) -> list[View]:
        """Pictures at every size that is asked for, each whole or by overlapping windows.

        Args:
            inputs: Pictures of one size.
            words: What `request` gave.
        """
        views = []
        for images_B3hw, flips in views_of(inputs, looks_of(self.test_cfg)):
            size = tuple(images_B3hw.shape[-2:])
            found = [
                Window(rows, columns, self.encode_decode(images_B3hw[..., rows, columns], *words))
                for rows, columns in self._places(size)
            ]
            views.append(View(size, flips, found))
        return views

    def _places(self, size: Sequence[int]) -> list[tuple[slice, slice]]:
        """Rows and columns of the windows that cover pictures of a size."""
        test_cfg = self.test_cfg or {}
        mode = test_cfg.get('mode', 'whole')
        if mode == 'whole':
            return [(slice(0, size[0]), slice(0, size[1]))]
        if mode != 'slide':
            raise ConfigError(f"test_cfg.mode={mode!r}; choose 'whole' or 'slide'.")
        for name in ('crop_size', 'stride'):
            if not isinstance(test_cfg.get(name), Sequence) or len(test_cfg[name]) != 2:
                raise ConfigError(f"test_cfg.mode='slide' needs {name}; give it as (height, width) in pixels.")
        return list(windows(size, test_cfg['crop_size'], test_cfg['stride']))


def _unpadded(image_3HW: Tensor, data_sample: Any) -> Tensor:
    padding = data_sample.metainfo.get('img_padding_size', data_sample.metainfo.get('padding_size', (0, 0, 0, 0)))
    left, right, top, bottom = padding
    height, width = image_3HW.shape[1:]
    return image_3HW[:, top : height - bottom, left : width - right]


def windows(size: Sequence[int], crop: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Row and column slices of overlapping windows that cover a picture, as in mmseg.

    The last window of a row or column is moved back so that it ends at the border.

    Args:
        size: Height and width of the picture in pixels.
        crop: Height and width of a window.
        stride: Steps down and to the right, at most ``crop``.

    Raises:
        ConfigError: If a stride is not positive or leaves gaps.
    """
    if any(not 0 < step <= length for step, length in zip(stride, crop, strict=True)):
        raise ConfigError(f'test_cfg: stride {tuple(stride)} must lie between 1 and crop_size {tuple(crop)}.')
    starts = []
    for length, window, step in zip(size, crop, stride, strict=True):
        last = max(length - window, 0)
        starts.append([min(start, last) for start in range(0, last + step, step)])
    for top in starts[0]:
        for left in starts[1]:
            yield slice(top, top + crop[0]), slice(left, left + crop[1])
