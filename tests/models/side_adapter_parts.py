"""A tiny `SideAdapterSegmentor`, mmseg's own model of the same size, and pictures for both."""

from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS as MMSEG
from mmseg.structures import SegDataSample
from recipe_parts import HashedBank
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

WIDTH = 32
BANK = HashedBank(WIDTH)
FEW = ('ant', 'bee', 'cat')
MORE = (*FEW[::-1], 'dog', 'elk')


def parts(width: int = 32) -> dict:
    """What both segmentors are built of."""
    shared = dict(norm_cfg=dict(type='LN', eps=1e-5), act_cfg=dict(type='mmseg.QuickGELU'))
    encoder = dict(
        type='mmseg.VisionTransformer',
        img_size=(64, 64),
        patch_size=16,
        patch_pad=0,
        embed_dims=width,
        num_layers=3,
        num_heads=2,
        out_origin=True,
        out_indices=(0, 1, 2),
        output_cls_token=True,
        pre_norm=True,
        frozen_exclude=['pos_embed'],
        **shared,
    )
    head = dict(
        deep_supervision_idxs=[3],
        san_cfg=side_network(width),
        maskgen_cfg=dict(sos_token_num=7, num_layers=2, embed_dims=width, num_heads=2, out_dims=WIDTH, **shared),
        **training(),
    )
    return dict(image_encoder=encoder, decode_head=head)


def side_network(width: int) -> dict:
    """The network beside CLIP, whose maps have this width."""
    return dict(
        clip_channels=width,
        embed_dims=24,
        num_queries=7,
        cfg_encoder=dict(num_encode_layer=4, num_heads=2, mlp_ratio=2),
        cfg_decoder=dict(num_heads=2, num_layers=1, embed_channels=8, mlp_channels=8, num_mlp=3, rescale=True),
        norm_cfg=dict(type='LN', eps=1e-6),
        in_channels=3,
    )


def training() -> dict:
    """Matching and losses."""
    costs = [
        dict(type='mmseg.ClassificationCost', weight=2.0),
        dict(type='mmseg.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
        dict(type='mmseg.DiceCost', weight=5.0, pred_act=True, eps=1.0),
    ]
    dice = dict(type='mmseg.DiceLoss', naive_dice=True, eps=1, ignore_index=None)
    return dict(
        train_cfg=dict(
            num_points=200,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(type='mmseg.HungarianAssigner', match_costs=costs),
        ),
        loss_decode=[
            dict(type='vlm_dense.VoidWeightedCrossEntropy', void_weight=0.1, loss_weight=2.0),
            dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, loss_name='loss_mask_ce', loss_weight=5.0),
            dict(loss_name='loss_mask_dice', loss_weight=5.0, **dice),
        ],
    )


def classifier(embed_dim: int = WIDTH, temperature: float = 0.07) -> dict:
    """mmseg's text encoder starts with this temperature."""
    given = dict(embed_dim=embed_dim, temperature=temperature)
    return dict(type='vlm_dense.EmbeddingClassifier', background=None, void='learned', **given)


def ours(temperature: float = 0.07, clip: object = None, **sizes: int) -> nn.Module:
    settings = parts(**sizes)
    settings['decode_head'] |= dict(type='vlm_dense.OVSideAdapterHead', classifier=classifier(temperature=temperature))
    return MODELS.build(
        dict(
            type='vlm_dense.SideAdapterSegmentor',
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor'),
            text_bank=dict(type='vlm_dense.HashedBank', embed_dim=WIDTH),
            encoder_resolution=0.5,
            clip=clip,
            test_cfg=dict(mode='whole', keep_scores=True),
            **settings,
        )
    )


def mmsegs(words: Sequence[str]) -> nn.Module:
    """mmseg's own, whose text encoder finds the rows of our bank in its cache."""
    settings = ConfigDict(parts())
    settings.decode_head.update(type='SideAdapterCLIPHead', num_classes=len(words))
    weights = [1.0] * len(words) + [0.1]
    words_loss = dict(type='CrossEntropyLoss', loss_name='loss_cls_ce', loss_weight=2.0, class_weight=weights)
    settings.decode_head.loss_decode = [words_loss, *settings.decode_head.loss_decode[1:]]
    text = dict(embed_dims=8, num_layers=1, num_heads=1, output_dims=WIDTH, vocabulary=list(words))
    whole = ConfigDict(
        type='MultimodalEncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        text_encoder=dict(type='CLIPTextEncoder', templates='vild', norm_cfg=dict(type='LN'), **text),
        encoder_resolution=0.5,
        test_cfg=dict(mode='whole'),
        **settings,
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMSEG.build(whole)
    for name, weight in model.named_parameters():
        if not name.endswith('logit_scale'):
            nn.init.normal_(weight, std=0.2)
    model.text_encoder.cache.update(zip(words, BANK(Vocabulary.from_words(words)), strict=True))
    return model.eval()


def pair(words: Sequence[str] = FEW) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    theirs = mmsegs(words)
    model = ours().eval()
    model.load_state_dict(theirs.state_dict())
    return model, theirs


def pictures(*size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def samples(words: Sequence[str], labels_BHW: Tensor, base: Sequence[str] | None = None, **meta: object) -> list:
    made = []
    vocabulary = Vocabulary.from_words(words, base=words if base is None else base)
    for labels_HW in labels_BHW:
        shape = tuple(labels_HW.shape)
        meta = dict(ori_shape=shape, img_shape=shape, pad_shape=shape, vocabulary=vocabulary) | meta
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=labels_HW[None])
        made.append(sample)
    return made


def labels(words: int, *size: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randint(0, words, (batch, 1, 3, 4), generator=generator).float()
    maps_BHW = functional.interpolate(coarse, size, mode='nearest')[:, 0].long()
    maps_BHW[:, :5] = 255
    return maps_BHW
