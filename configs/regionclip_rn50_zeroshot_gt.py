"""RegionCLIP (arXiv:2112.09106), Table 4: what a tower knows of regions where the annotated boxes are given."""

_base_ = ['regionclip_rn50_zeroshot.py']

model = dict(
    proposals=dict(_delete_=True, type='vlm_dense.TruthProposals'),
    roi_head=dict(objectness='ignore'),
)
