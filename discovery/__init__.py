"""Who is out there: gossip over authenticated links."""

from discovery.config import DiscoveryConfig
from discovery.entry import Entry, NetworkId, SignedEntry, Version
from discovery.errors import DiscoveryError
from discovery.peers import PeerEvent, PeerInfo, Peers
from discovery.service import Discovery

P2PRAFT_PACKAGE = True

__all__ = [
    "Discovery",
    "DiscoveryConfig",
    "DiscoveryError",
    "Entry",
    "NetworkId",
    "PeerEvent",
    "PeerInfo",
    "Peers",
    "SignedEntry",
    "Version",
]
