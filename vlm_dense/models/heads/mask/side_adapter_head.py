"""mmseg's side adapter head with the words of the request in place of a number of classes.

Shapes: B pictures, N masks of each, K words, D width of the words, H W pixels, h w cells of the side network. Logits
have a last column for the void: what no mask is.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from mmseg.models.decode_heads.san_head import SideAdapterCLIPHead
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.heads.mask.segments import Segments
from vlm_dense.models.heads.mask.truths import taught_segments
from vlm_dense.models.heads.mask.word_logits import word_logits
from vlm_dense.models.requests import NameRows, WordRows
from vlm_dense.registry import MODELS

NO_NUMBER = 3  # mmseg's constructor asks for a number of classes; 1 and 2 mean something to it


@MODELS.register_module()
class OVSideAdapterHead(SideAdapterCLIPHead):
    """A side network that finds masks, and biases with which CLIP's last blocks look at each of them.

    Modules, names of weights, initial values, matching and mask losses are those of mmseg's ``SideAdapterCLIPHead``
    (SAN, arXiv:2302.12242, Sec. 3). Masks are compared with words by the classifier.

    Args:
        classifier: ``vlm_dense.EmbeddingClassifier`` with a ``void`` and no background.
        san_cfg: The side network, as in mmseg.
        maskgen_cfg: CLIP's last blocks, as in mmseg; ``out_dims`` is D.
        deep_supervision_idxs: Blocks of the side network, from 1, whose masks are trained beside those of the last.
        loss_decode: As in mmseg, by their ``loss_name``: 'loss_cls_ce', here `VoidWeightedCrossEntropy`,
            'loss_mask_ce' and 'loss_mask_dice'.
        train_cfg: Matching and sampled points, as in mmseg; None for a head that is only tested.

    Raises:
        ConfigError: If the classifier has no void or a background.
    """

    def __init__(
        self,
        classifier: Mapping,
        san_cfg: Mapping,
        maskgen_cfg: Mapping,
        deep_supervision_idxs: Sequence[int],
        loss_decode: Sequence[Mapping],
        train_cfg: Mapping | None = None,
    ) -> None:
        super().__init__(
            num_classes=NO_NUMBER,
            san_cfg=ConfigDict(san_cfg),
            maskgen_cfg=ConfigDict(maskgen_cfg),
            deep_supervision_idxs=list(deep_supervision_idxs),
            train_cfg=None if train_cfg is None else ConfigDict(train_cfg),
            loss_decode=list(loss_decode),
        )
        del self.num_classes, self.out_channels
        self.classifier = MODELS.build(classifier)
        if not self.classifier.has_void or self.classifier.has_background:
            raise ConfigError("OVSideAdapterHead: its classifier needs background=None and void='learned'; set them.")

    def init_weights(self) -> None:
        """Start the side network and the void as the authors do; CLIP's blocks are left as they are."""
        self.side_adapter_network.init_weights()
        nn.init.normal_(self.classifier.extra.learned_ED, std=self.classifier.embed_dim**-0.5)

    def segments(
        self, features: Sequence, input_size: Sequence[int] | None = None, image_sizes: Sequence | None = None
    ) -> Segments:
        """Masks and unit embeddings after the last block.

        Args:
            features: Pictures (B, 3, H, W), and CLIP's taps: per tap a map and a class token.
            input_size: Not read; other mask heads are not given the pictures.
            image_sizes: Not read; the network sees padding as pixels.
        """
        return self._segments(features)[-1]

    def logits(self, embed_BND: Tensor, words: WordRows | NameRows) -> Tensor:
        """Logits (B, N, K + 1), the void last; in float32 even under autocast.

        Args:
            embed_BND: Of `segments`.
            words: K words. With a row per name, a word has the logit of its best name.
        """
        return word_logits(self.classifier, embed_BND, words)

    def loss(
        self,
        features: Sequence,
        truths: Sequence[InstanceData],
        words: WordRows | NameRows,
        input_size: Sequence[int] | None = None,
        image_sizes: Sequence | None = None,
    ) -> dict[str, Tensor]:
        """mmseg's losses, those of earlier blocks with their number: ``d7.loss_cls_ce``.

        Segments of unseen words belong to no mask.

        Args:
            features: As in `segments`.
            truths: Per picture ``labels`` (G,) and ``masks`` (G, H, W), which cover the batch's tensor.
            words: K words, which the labels index.
            input_size: Not read.
            image_sizes: Not read.

        Raises:
            DataError: If a label is no word.
        """
        taught = [taught_segments(truth, words, has_background=False) for truth in truths]
        found = self._segments(features, self.deep_supervision_idxs)
        logits = [self.logits(embed_BND, words) for embed_BND, _ in found]
        view = self._for_words(len(words.is_base_K))
        with torch.autocast(logits[0].device.type, enabled=False):
            return view.loss_by_feat(logits, [mask_BNhw.float() for _, mask_BNhw in found], taught)

    def _segments(self, features: Sequence, blocks: Sequence[int] = ()) -> list[Segments]:
        """Those after some blocks and, last, after the last."""
        images_B3HW, taps = features
        masks, biases = self.side_adapter_network(images_B3HW, taps, blocks)
        embeds = [self.rec_with_attnbias(bias, taps[-1]) for bias in biases]
        return [Segments(*pair) for pair in zip(embeds, masks, strict=True)]

    def _for_words(self, num_words: int) -> 'OVSideAdapterHead':
        """This head as mmseg's losses want it for a number of words, which is also the label of the void."""
        view = copy.copy(self)
        view.match_masks = copy.copy(self.match_masks)
        view.match_masks.num_classes = num_words
        return view
