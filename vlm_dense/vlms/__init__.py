"""Pictures: image towers and what is read from them."""

from vlm_dense.vlms.adapters import LowRank, add_adapters
from vlm_dense.vlms.backbone import TowerBackbone, TowerTail
from vlm_dense.vlms.backbone_tail import BackboneTail
from vlm_dense.vlms.biased_tail import BiasedTail
from vlm_dense.vlms.centers import mean_features
from vlm_dense.vlms.clip_resnet import AttentionPooling, pool_tokens
from vlm_dense.vlms.clip_vit import tapped_tokens
from vlm_dense.vlms.crops import crop_regions
from vlm_dense.vlms.deep_prompts import DeepPrompts, add_prompts
from vlm_dense.vlms.dense_backbone import DenseBackbone
from vlm_dense.vlms.frozen import FrozenTower
from vlm_dense.vlms.imagenet_tower import ImageNetTower
from vlm_dense.vlms.linear_slots import LearnedRows, merge
from vlm_dense.vlms.mask_pooling import mask_weights, pool_masks
from vlm_dense.vlms.mask_prompts import MaskPromptedTower
from vlm_dense.vlms.masked_crops import MaskedCrops
from vlm_dense.vlms.memory import ContentMemory
from vlm_dense.vlms.open_clip_tower import OpenClipTower
from vlm_dense.vlms.partly_frozen import PartlyFrozen
from vlm_dense.vlms.proxy_tower import ProxyTower, proxy_attention
from vlm_dense.vlms.region_bank import RegionBank
from vlm_dense.vlms.timm_tower import TimmTower
from vlm_dense.vlms.tower import ImageTower
from vlm_dense.vlms.tuning import tune

__all__ = [
    'AttentionPooling',
    'BackboneTail',
    'BiasedTail',
    'ContentMemory',
    'DeepPrompts',
    'DenseBackbone',
    'FrozenTower',
    'ImageNetTower',
    'ImageTower',
    'LearnedRows',
    'LowRank',
    'MaskPromptedTower',
    'MaskedCrops',
    'OpenClipTower',
    'PartlyFrozen',
    'ProxyTower',
    'RegionBank',
    'TimmTower',
    'TowerBackbone',
    'TowerTail',
    'add_adapters',
    'add_prompts',
    'crop_regions',
    'mask_weights',
    'mean_features',
    'merge',
    'pool_masks',
    'pool_tokens',
    'proxy_attention',
    'tapped_tokens',
    'tune',
]
