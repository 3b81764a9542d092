"""Pictures: image towers and what is read from them."""

from vlm_dense.vlms.backbone import TowerBackbone, TowerTail
from vlm_dense.vlms.biased_tail import BiasedTail
from vlm_dense.vlms.centers import mean_features
from vlm_dense.vlms.clip_resnet import AttentionPooling, pool_tokens
from vlm_dense.vlms.clip_vit import tapped_tokens
from vlm_dense.vlms.crops import crop_regions
from vlm_dense.vlms.dense_backbone import DenseBackbone
from vlm_dense.vlms.frozen import FrozenTower
from vlm_dense.vlms.imagenet_tower import ImageNetTower
from vlm_dense.vlms.mask_pooling import mask_weights, pool_masks
from vlm_dense.vlms.mask_prompts import MaskPromptedTower
from vlm_dense.vlms.masked_crops import MaskedCrops
from vlm_dense.vlms.memory import ContentMemory
from vlm_dense.vlms.open_clip_tower import OpenClipTower
from vlm_dense.vlms.proxy_tower import ProxyTower, proxy_attention
from vlm_dense.vlms.region_bank import RegionBank
from vlm_dense.vlms.timm_tower import TimmTower
from vlm_dense.vlms.tower import ImageTower

__all__ = [
    'AttentionPooling',
    'BiasedTail',
    'ContentMemory',
    'DenseBackbone',
    'FrozenTower',
    'ImageNetTower',
    'ImageTower',
    'MaskPromptedTower',
    'MaskedCrops',
    'OpenClipTower',
    'ProxyTower',
    'RegionBank',
    'TimmTower',
    'TowerBackbone',
    'TowerTail',
    'crop_regions',
    'mask_weights',
    'mean_features',
    'pool_masks',
    'pool_tokens',
    'proxy_attention',
    'tapped_tokens',
]
