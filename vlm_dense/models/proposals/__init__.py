"""Where proposals come from that no part of the detector learns."""

from vlm_dense.models.proposals.base import ProposalSource
from vlm_dense.models.proposals.offline import OfflineProposals
from vlm_dense.models.proposals.random_boxes import RandomProposals
from vlm_dense.models.proposals.stored import StoredProposals, read_proposals
from vlm_dense.models.proposals.truth import TruthProposals

__all__ = [
    'OfflineProposals',
    'ProposalSource',
    'RandomProposals',
    'StoredProposals',
    'TruthProposals',
    'read_proposals',
]
