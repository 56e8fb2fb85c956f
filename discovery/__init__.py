"""Who is out there: gossip over authenticated links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.lazy import lazily

if TYPE_CHECKING:
    from discovery.config import DiscoveryConfig as DiscoveryConfig
    from discovery.entry import Entry as Entry, NetworkId as NetworkId, SignedEntry as SignedEntry, Version as Version
    from discovery.errors import DiscoveryError as DiscoveryError
    from discovery.peers import PeerEvent as PeerEvent, PeerInfo as PeerInfo, Peers as Peers
    from discovery.service import Discovery as Discovery

P2PRAFT_PACKAGE = True

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "discovery.config": "DiscoveryConfig",
        "discovery.entry": "Entry NetworkId SignedEntry Version",
        "discovery.errors": "DiscoveryError",
        "discovery.peers": "PeerEvent PeerInfo Peers",
        "discovery.service": "Discovery",
    },
)
