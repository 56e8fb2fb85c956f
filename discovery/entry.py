"""What a node says of itself, signed: pure.

Only its owner can make an entry, and of two the newer version holds. Versions are (incarnation, sequence), never a clock:
boards without one must work. A departure is an entry too, and leaves a tombstone that no older entry can lift.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import msgpack

from transport import HostPort, PeerAddr, PeerId, SecretKey
from transport.ids import ByteId
from transport.wire import Schema, Size

DOMAIN = b"p2praft/1 entry"
ID_SIZE = 8
"""Bytes of an entry's short name."""
MAX_TAGS = 32
MAX_GROUPS = 64


class NetworkId(ByteId):
    """Names a network: a hash of what people call it."""

    __slots__ = ()
    size = 32
    what = "network id"

    @classmethod
    def of(cls, name: str) -> NetworkId:
        """The id of the network called ``name``."""
        return cls(hashlib.sha256(b"p2praft/1 network " + name.encode()).digest())


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Orders the entries of one owner.

    Attributes:
        incarnation: Grows when the owner starts anew, or finds itself outrun by its own past.
        sequence: Grows with each change.
    """

    incarnation: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.sequence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A node's own words.

    Attributes:
        network: Where it lives; entries of other networks are not taken.
        peer_id: Who it is.
        version: Of two entries the newer holds.
        endpoints: Where it can be dialled.
        tags: Words for people and applications.
        groups: What it says of the groups it serves, to those who can read it.
        left: Whether it says goodbye.
    """

    network: NetworkId
    peer_id: PeerId
    version: Version
    endpoints: Annotated[tuple[HostPort, ...], Size(1, 8)]
    tags: Annotated[tuple[Annotated[str, Size(0, 64)], ...], Size(0, MAX_TAGS)] = ()
    groups: Annotated[tuple[Annotated[bytes, Size(16, 16)], ...], Size(0, MAX_GROUPS)] = ()
    left: bool = False

    @property
    def address(self) -> PeerAddr:
        """Who and where."""
        return PeerAddr(self.peer_id, self.endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedEntry:
    """An entry with its owner's signature over every field."""

    entry: Entry
    signature: Annotated[bytes, Size(64, 64)]

    @classmethod
    def sign(cls, key: SecretKey, entry: Entry) -> SignedEntry:
        """Sign one's own entry."""
        return cls(entry=entry, signature=key.sign(_signed_bytes(entry)))

    @property
    def id(self) -> bytes:
        """Names this entry to neighbours: the first bytes of the signature, which nobody can give to another owner's."""
        return self.signature[:ID_SIZE]

    @property
    def size(self) -> int:
        """Bytes on the wire, at most."""
        entry = self.entry
        hosts = sum(len(endpoint.host.encode()) + 16 for endpoint in entry.endpoints)
        return 256 + hosts + sum(len(tag.encode()) + 5 for tag in entry.tags) + 18 * len(entry.groups)

    def holds(self) -> bool:
        """Whether the owner signed exactly this."""
        return self.entry.peer_id.verify(self.signature, _signed_bytes(self.entry))


@cache
def _schema() -> Schema[Entry]:
    return Schema(Entry)


def _signed_bytes(entry: Entry) -> bytes:
    packed: bytes = msgpack.packb(_schema().dump(entry))
    return DOMAIN + packed
