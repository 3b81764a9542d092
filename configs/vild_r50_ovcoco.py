"""ViLD-ensemble (arXiv:2104.13921) on OV-COCO: boxes of 48 words in training, 65 words at test, AP50.

The authors released no COCO recipe; everything but the data is their LVIS recipe. Data in data/coco.
"""

_base_ = ['_base_/vild_r50.py', '_base_/ovcoco_detection.py']

model = dict(test_cfg=dict(rcnn=dict(max_per_img=100)))
