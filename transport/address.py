"""Where a peer can be reached, as text that a person can copy: ``<peer-id>@host:port[,host:port…]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from transport.errors import AddressError
from transport.identity import PeerId
from transport.wire import Range, Size

MAX_ENDPOINTS = 8
"""Endpoints of one address at most."""


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """One UDP endpoint.

    Attributes:
        host: Name or numeric address; IPv6 without brackets.
        port: 0 to 65535; 0 only where a free port is to be chosen.
    """

    host: Annotated[str, Size(1, 255)]
    port: Annotated[int, Range(0, 65535)]

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """From ``host:port`` or ``[v6]:port``.

        Raises:
            AddressError: It is neither.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        valid = colon and 0 < len(host) <= 255 and not set(host) & set(" ,@[]/")
        if not valid or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise AddressError(f"{text!r} is not host:port; examples: 10.0.0.5:7001, [fe80::1]:7001, node.local:7001")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, order=True)
class PeerAddr:
    """Who, and where.

    Attributes:
        peer_id: Who must answer there.
        endpoints: Where it may be reached, 1 to 8.
    """

    peer_id: PeerId
    endpoints: Annotated[tuple[HostPort, ...], Size(1, MAX_ENDPOINTS)]

    @classmethod
    def parse(cls, text: str) -> PeerAddr:
        """From ``<peer-id>@host:port[,host:port…]``.

        Raises:
            AddressError: It is not of that form.
        """
        peer, at, where = text.strip().partition("@")
        if not at:
            raise AddressError(
                f"{text!r} is not a peer's address: expected <peer-id>@host:port, as `p2praft up` prints when it is ready"
            )
        endpoints = tuple(map(HostPort.parse, where.split(",")))
        if len(endpoints) > MAX_ENDPOINTS:
            raise AddressError(f"{text!r} names more than {MAX_ENDPOINTS} endpoints")
        if any(endpoint.port == 0 for endpoint in endpoints):
            raise AddressError(f"{text!r} has port 0, which nobody can dial; give the port that the peer listens on")
        return cls(PeerId.parse(peer), endpoints)

    def joined(self, other: PeerAddr) -> PeerAddr:
        """The endpoints of both, ours first, without repeats; as many as an address may have."""
        return PeerAddr(self.peer_id, tuple(dict.fromkeys((*self.endpoints, *other.endpoints)))[:MAX_ENDPOINTS])

    def __str__(self) -> str:
        return f"{self.peer_id}@{','.join(map(str, self.endpoints))}"
