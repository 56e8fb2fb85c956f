"""What a transport gives: endpoints, connections and links. Implemented over QUIC and in memory, with one contract.

A *connection* joins two proven peers; there is one per pair. A *link* is one ordered, framed, flow-controlled,
bidirectional stream of one protocol on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal

import anyio

from transport.address import HostPort, PeerAddr
from transport.errors import LinkClosed
from transport.handshake import ALPN
from transport.identity import PeerId, SecretKey
from transport.wire import Protocol


class Link(ABC):
    """One stream of one protocol between two proven peers.

    Attributes:
        protocol: What is spoken.
        peer_id: Who is at the other end.
        dialled: Whether this side opened the link.
        connection: What it runs on.
    """

    protocol: Protocol
    peer_id: PeerId
    dialled: bool
    connection: Connection
    _sink: Callable[[Any], None] | None = None
    _then: Callable[[], None] | None = None

    @property
    def binding(self) -> bytes:
        """The connection's channel binding: 32 bytes, the same at both ends, different on every connection."""
        return self.connection.binding

    @abstractmethod
    async def send(self, message: Any) -> None:
        """Send a message; waits while the peer has a whole window unread.

        Raises:
            LinkClosed: The link ended.
        """

    @abstractmethod
    def send_nowait(self, message: Any) -> None:
        """Send a message at once. What is sent in one step of a task shares datagrams.

        Raises:
            LinkFull: The peer has a whole window unread; nothing was sent.
            LinkClosed: The link ended.
        """

    @abstractmethod
    async def receive(self) -> Any:
        """The next message.

        Raises:
            LinkClosed: The link ended, and all that was sent before has been received; says why.
        """

    @abstractmethod
    def receive_nowait(self) -> Any:
        """The next message if it is there.

        Raises:
            anyio.WouldBlock: None is there yet.
            LinkClosed: As :meth:`receive`.
        """

    def divert(self, sink: Callable[[Any], None], then: Callable[[], None] | None = None) -> None:
        """From now on hand every message to ``sink`` as it arrives, in the reader's own step, without a task between.

        Once all that arrived together was handed over, on whatever links, ``then`` is called, still in that step; what it
        sends leaves at its end. Neither may block or raise, nor enter a cancel scope or ask for the current task: the reader need
        not be one. :meth:`receive` then returns nothing any more and raises when the link ends.
        """
        self._sink, self._then = sink, then
        self._pour()
        if then is not None:
            then()

    def hold(self) -> None:
        """Queue what is sent until :meth:`flush`, which must follow in this very step: nobody is woken to send it."""
        return

    def flush(self) -> None:
        """Send what is queued in this very step, rather than with whatever else this turn of the event loop brings."""
        return

    def _pour(self) -> None:
        """Hand what has arrived to the sink."""
        assert self._sink is not None
        try:
            while True:
                self._sink(self.receive_nowait())
        except (anyio.WouldBlock, LinkClosed):
            return

    @abstractmethod
    def close(self, reason: str = "") -> None:
        """End the link; idempotent, never waits. What was sent before is still delivered while the connection lives."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether either side has ended it."""

    @property
    def receiving(self) -> bool:
        """Whether a part of a message has come, and the rest is awaited."""
        return False

    @property
    @abstractmethod
    def close_reason(self) -> str | None:
        """Why it ended; None while it lives."""


class Connection(ABC):
    """A proven connection to one peer.

    Attributes:
        peer_id: Who is at the other end.
        binding: Names this connection and no other; 32 bytes, the same at both ends.
        dialled: Whether this side dialled.
        heard_at: When anything last came from the peer, on anyio's clock; ``-inf`` if the transport does not say.
        remote: Where the peer is.
        wire: The version of the wire that the two agreed on.
    """

    wire: str = ALPN

    peer_id: PeerId
    binding: bytes
    dialled: bool
    remote: HostPort
    heard_at: float = float("-inf")

    @property
    @abstractmethod
    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds (RFC 9002, section 5.3); None before the first measurement."""

    @property
    def datagram_size(self) -> int | None:
        """Bytes of a datagram's payload at most, by the route's MTU and what the path has turned out to take; None in memory."""
        return None

    @abstractmethod
    async def open(self, protocol: Protocol) -> Link:
        """Open a link.

        Raises:
            LinkClosed: The connection ended. A peer that does not serve the protocol closes the link with a reason.
        """

    @abstractmethod
    def close(self, reason: str = "") -> None:
        """End the connection and all its links; idempotent, never waits."""

    @abstractmethod
    async def wait_closed(self) -> str:
        """Wait for the end; why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent:
    """A connection came or went.

    Attributes:
        kind: ``up`` once proven, ``down`` when it has ended.
        connection: Which.
        reason: Why it ended.
    """

    kind: Literal["up", "down"]
    connection: Connection
    reason: str = ""


Handler = Callable[[Link], Awaitable[None]]

REPLACED = "replaced by a newer process"
"""Why a connection ends that another process with the dialler's key has taken over. Only one that lives hears it: then two do."""


class Replaced:
    """Whoever was replaced dials that peer again only after a pause: else two processes with one key throw each other out so fast
    that neither comes to say a word, and the peer cannot tell them what is wrong."""

    PAUSE = 1.0
    """Seconds."""

    def __init__(self) -> None:
        self._until: dict[PeerId, float] = {}

    def on_end(self, peer_id: PeerId, reason: str, now: float) -> None:
        """A proven connection to a peer has ended."""
        if reason == REPLACED:
            self._until[peer_id] = now + self.PAUSE

    async def wait(self, peer_id: PeerId) -> bool:
        """Wait until the peer may be dialled; whether that took time, in which it may have dialled us."""
        if (until := self._until.get(peer_id)) is None:
            return False
        await anyio.sleep_until(until)
        self._until.pop(peer_id, None)
        return True


class Endpoint(ABC):
    """A bound node: dials and accepts.

    Attributes:
        peer_id: This node.
        address: What others can dial.
        bound: Where it listens, with the port that it has.
        counters: What was counted since the start, by name.
    """

    peer_id: PeerId
    address: PeerAddr
    bound: HostPort
    counters: Counter[str]

    @property
    @abstractmethod
    def connections(self) -> Mapping[PeerId, Connection]:
        """Live, proven connections."""

    @abstractmethod
    async def connect(self, addr: PeerAddr, *, timeout: float = 10) -> Connection:
        """The connection to a peer: the one there is, or a new one.

        Args:
            addr: Who must answer, and where.
            timeout: Seconds to try.

        Raises:
            DialError: None could be made; says why.
        """

    @abstractmethod
    def serve(self, protocol: Protocol, handler: Handler) -> None:
        """Have ``handler`` called, in a task of the endpoint's, for each link that a peer opens.

        The link is closed when the handler returns; what it raises is logged, closes the link, and goes no further.
        """

    def look_up_address(self) -> PeerAddr:
        """What others can dial now: where the endpoint listens everywhere, that changes as the machine moves."""
        return self.address

    @abstractmethod
    def unserve(self, protocol: Protocol) -> None:
        """No longer accept links of this protocol; those that are open stay."""

    @abstractmethod
    def watch(self) -> AsyncIterator[ConnectionEvent]:
        """Connections as they come and go, beginning with those there are. A slow reader loses the oldest of 1024."""


class Transport(ABC):
    """Makes endpoints."""

    @abstractmethod
    def bind(
        self, key: SecretKey, *, listen: HostPort, advertise: Sequence[HostPort] = ()
    ) -> AbstractAsyncContextManager[Endpoint]:
        """A bound endpoint while the context lasts.

        Args:
            key: The node's identity.
            listen: Where; port 0 takes a free one.
            advertise: What others dial, if that is not where it listens.

        Raises:
            BindError: The socket cannot be bound.
        """
