"""ViLD-ensemble (arXiv:2104.13921) as published: Mask R-CNN R50-FPN, CLIP ViT-B/32, LVIS v1 without rare boxes.

ViLD-text: roi_head.bbox_head.distill='none' and branches={}. ViLD: distill='shared'.
Data in data/lvis_v1 (annotations, train2017, val2017), as mmdet lays it out.
"""

_base_ = ['_base_/vild_r50.py', '_base_/lvis_detection.py']
