"""What the gossip engine wants done: values that its shell carries out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.messages import Message
from transport import PeerAddr, PeerId

VIEW_FULL = "the view is full"
OTHER_NETWORK = "this node is in another network"
NO_ANSWER = "the neighbour does not answer"
LEAVING = "the node leaves"
ORDERLY = frozenset({VIEW_FULL, OTHER_NETWORK, NO_ANSWER, LEAVING})
"""Reasons for which a link is ended on purpose: whoever hears one has no cause for suspicion."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a neighbour."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class Dial:
    """Link with a peer."""

    address: PeerAddr


@dataclass(frozen=True, slots=True)
class Unlink:
    """End the link with a neighbour."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the application: ``kind`` is joined, updated, suspect, lost, left or recovered."""

    kind: str
    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Somebody signs entries with this node's key, again and again, and says that the node is elsewhere."""

    address: PeerAddr


Effect = Send | Dial | Unlink | Emit | Elsewhere
