"""The standard protocols, by name."""

from vlm_dense.errors import ConfigError
from vlm_dense.evaluation.protocols.boxes import BOXES
from vlm_dense.evaluation.protocols.episodes import EPISODES
from vlm_dense.evaluation.protocols.panoptic import PANOPTIC
from vlm_dense.evaluation.protocols.phrases import PHRASES
from vlm_dense.evaluation.protocols.pixels import PIXELS
from vlm_dense.evaluation.protocols.protocol import Part, Protocol
from vlm_dense.text.word_checks import ending

PROTOCOLS = {protocol.name: protocol for protocol in (*BOXES, *PIXELS, *EPISODES, *PANOPTIC, *PHRASES)}

__all__ = ['PROTOCOLS', 'Part', 'Protocol', 'find_protocol']


def find_protocol(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        ConfigError: If there is none of that name; a close one is suggested.
    """
    if name not in PROTOCOLS:
        known = ', '.join(PROTOCOLS)
        raise ConfigError(f"no protocol is called '{name}'{ending(name, list(PROTOCOLS))} Known are {known}.")
    return PROTOCOLS[name]
