"""A segmentor whose masks come from a small network beside CLIP, and whose words from the request."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from vlm_dense.checkpoints.adapters.split_clip import (
    MMSEG_TEXT,
    from_mmseg_side_adapter,
    logit_scale_of,
    to_split_clip,
)
from vlm_dense.checkpoints.coverage import check_coverage
from vlm_dense.errors import CheckpointError
from vlm_dense.models.segmentors.ov_mask_segmentor import OVMaskSegmentor
from vlm_dense.registry import MODELS, build_part

CLIP_PARTS = ('image_encoder.', 'decode_head.rec_with_attnbias.')
NEAR = 0.01  # CLIP's scale in half precision is not quite 100


@MODELS.register_module()
class SideAdapterSegmentor(OVMaskSegmentor):
    """mmseg's ``MultimodalEncoderDecoder`` (SAN, arXiv:2302.12242), told its words with every request.

    Weights have mmseg's names and hold CLIP's picture half, so that its checkpoints load; of their text encoder the
    learned void alone is taken. Words come from the bank, which is no part of the model.

    Args:
        image_encoder: mmseg's ``VisionTransformer`` of CLIP's first blocks.
        decode_head: ``vlm_dense.OVSideAdapterHead``.
        text_bank: As in `OVMaskSegmentor`.
        encoder_resolution: Factor by which pictures are resized for CLIP (bilinear). The side network sees them whole.
        clip: `OpenClipTower` or its config: CLIP's picture half, read when a training starts. None: random weights.
        kwargs: Other arguments of `OVMaskSegmentor`.
    """

    def __init__(
        self,
        image_encoder: dict,
        decode_head: dict,
        text_bank: Any,
        encoder_resolution: float,
        clip: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=image_encoder, decode_head=decode_head, text_bank=text_bank, **kwargs)
        # Under mmseg's name; `backbone` is the method below.
        self.image_encoder = self._modules.pop('backbone')
        self.encoder_resolution = encoder_resolution
        self.clip = clip

    def init_weights(self) -> None:
        """Start a training: CLIP's weights where they belong, the rest as in mmseg.

        Raises:
            CheckpointError: If ``clip`` has another architecture.
        """
        super().init_weights()
        if self.clip is None:
            return
        tower: Any = build_part(self.clip)
        weights = to_split_clip(tower.state_dict(), len(self.image_encoder.layers))
        own = {name: weight for name, weight in self.state_dict().items() if name.startswith(CLIP_PARTS)}
        coverage = check_coverage(own, weights, 'model.clip')
        if not coverage.is_complete or coverage.unexpected:
            raise CheckpointError(
                f'model.clip does not fit image_encoder and decode_head.maskgen_cfg: {coverage}. '
                'Give them the width, blocks, patch and picture size of the architecture that it names.'
            )
        self.load_state_dict(weights, strict=False)

    def backbone(self, images_B3HW: Tensor) -> tuple[Tensor, Sequence]:
        """The pictures, and CLIP's taps of the smaller ones: per tap a map and a class token."""
        smaller = functional.interpolate(images_B3HW, scale_factor=self.encoder_resolution, mode='bilinear')
        return images_B3HW, self.image_encoder(smaller)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        start = prefix + MMSEG_TEXT
        theirs = {n.removeprefix(prefix): state_dict.pop(n) for n in list(state_dict) if n.startswith(start)}
        self._check_scale(theirs)
        state_dict.update({prefix + name: weight for name, weight in from_mmseg_side_adapter(theirs).items()})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_scale(self, weights: Mapping[str, Tensor]) -> None:
        scale, own = logit_scale_of(weights), 1 / self.decode_head.classifier.temperature
        if scale is not None and abs(scale / own - 1) > NEAR:
            raise CheckpointError(
                f'the checkpoint multiplies cosines by {scale:.2f}, the model by {own:.2f}; '
                f'set model.decode_head.classifier.temperature={1 / scale:.4f}.'
            )
