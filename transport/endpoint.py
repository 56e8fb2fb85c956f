"""A node's endpoint: one UDP socket that both dials and accepts, and the links on its connections.

What the parts do: :mod:`transport.loop` moves datagrams, :mod:`transport.dialler` dials, :mod:`transport.acceptor` takes in
strangers within the bounds of :mod:`transport.door`. Here is what they have in common: who is connected, and who serves what.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup

from transport import routes
from transport.acceptor import Acceptor
from transport.address import HostPort, PeerAddr
from transport.config import QuicConfig
from transport.dialler import Dialler
from transport.errors import TransportError
from transport.feed import Feed
from transport.handshake import KeyLog
from transport.identity import PeerId, SecretKey
from transport.link import REPLACED, Connection, ConnectionEvent, Endpoint, Handler, Transport
from transport.local import bind_socket
from transport.quic import CODE_BLACK_HOLE, CODE_DUPLICATE, LINGER, QuicPeer
from transport.quic_link import QuicLink
from transport.tasks import owned_tasks
from transport.wire import Protocol

logger = logging.getLogger("transport")

DUPLICATE = "duplicate connection"


class QuicTransport(Transport):
    """Links over QUIC.

    Args:
        config: Timeouts and sizes.
    """

    def __init__(self, config: QuicConfig | None = None) -> None:
        self._config = config or QuicConfig()

    def bind(
        self, key: SecretKey, *, listen: HostPort, advertise: Sequence[HostPort] = ()
    ) -> AbstractAsyncContextManager[Endpoint]:
        return self._bind(key, listen, advertise)

    @asynccontextmanager
    async def _bind(
        self, key: SecretKey, listen: HostPort, advertise: Sequence[HostPort]
    ) -> AsyncIterator[QuicEndpoint]:
        sock = await bind_socket(listen)
        try:
            endpoint = QuicEndpoint(key, sock, self._config, tuple(advertise))
            async with owned_tasks() as tasks:
                endpoint.start(tasks)
                try:
                    yield endpoint
                finally:
                    await endpoint.stop()
        finally:
            sock.close()


class QuicEndpoint(Acceptor, Dialler, Endpoint):
    """A bound node. See :class:`~transport.link.Endpoint`."""

    def __init__(
        self, key: SecretKey, sock: socket.socket, config: QuicConfig, advertise: tuple[HostPort, ...]
    ) -> None:
        super().__init__(key, sock, config)
        self.bound = HostPort(*sock.getsockname()[:2])
        self._advertise = advertise
        self.address = PeerAddr(self.peer_id, advertise or routes.advertised(self.bound, sock.family))
        self._watchers: Feed[ConnectionEvent] = Feed()
        self._handlers: dict[str, tuple[Protocol, Handler]] = {}
        self._tasks: TaskGroup | None = None

    # --- the contract

    @property
    def connections(self) -> Mapping[PeerId, Connection]:
        return self._live

    def serve(self, protocol: Protocol, handler: Handler) -> None:
        self._handlers[protocol.name] = (protocol, handler)

    def unserve(self, protocol: Protocol) -> None:
        self._handlers.pop(protocol.name, None)

    def look_up_address(self) -> PeerAddr:
        if not self._advertise:
            self.address = PeerAddr(self.peer_id, routes.advertised(self.bound, self._sock.family))
        return self.address

    def watch(self) -> AsyncIterator[ConnectionEvent]:
        return self._watchers.subscribe(ConnectionEvent(kind="up", connection=live) for live in self._live.values())

    # --- life

    def start(self, tasks: TaskGroup) -> None:
        """Begin to read, to flush and to mind the timers."""
        self._tasks = tasks
        tasks.start_soon(self._run_io, name="transport")

    async def stop(self) -> None:
        """Close every connection, give the peers a moment to receive what is queued, and fall silent. Idempotent.

        Takes half a second at most, also if it is cancelled or a peer is silent.
        """
        self._stopping = True
        try:
            for peer in list(self._peers):
                peer.close("the peer stops")
            self._watchers.close()
            self._send_dirty()
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LINGER):
                while any(peer.linger_until is not None for peer in self._peers):
                    await anyio.sleep(0.005)
            self._end_lingering(float("inf"))
            self._send_dirty()
            if self._qlog is not None:
                self._qlog.close()
        finally:
            self._io.cancel()

    # --- for connections

    def on_proven(self, peer: QuicPeer) -> None:
        """Both proofs hold. Of two connections to one peer, one stays."""
        self._no_longer_unproven(peer)
        self.counters["proven"] += 1
        standing = self._live.get(peer.peer_id)
        if standing is not None and standing.ended is None:
            same_process = standing.instance == peer.instance
            age = anyio.current_time() - (standing.proven_at or 0.0)
            simultaneous = same_process and standing.dialled != peer.dialled and age < self._config.handshake_timeout
            # Dialled by the lower PeerId stays, if both dialled at once. A peer that restarted, or lost its end,
            # dials again later: then the newer one stays.
            if simultaneous and standing.dialled == (self.peer_id < peer.peer_id):
                peer.close(DUPLICATE, code=CODE_DUPLICATE)
                return
            self._live[peer.peer_id] = peer
            standing.close(DUPLICATE if same_process else REPLACED, code=CODE_DUPLICATE)
        self._live[peer.peer_id] = peer
        self._watchers.put(ConnectionEvent(kind="up", connection=peer))
        peer.ping()
        if peer.size > routes.SMALLEST:
            peer.probe_path(anyio.current_time())

    def on_black_hole(self, peer: QuicPeer) -> None:
        """Large datagrams to a peer vanish: the connection must be made anew, with small ones."""
        self._lower(peer.address)
        peer.break_off(f"the path drops datagrams of {peer.size} bytes", CODE_BLACK_HOLE)

    def on_end(self, peer: QuicPeer, reason: str) -> None:
        """A connection is over; its closing datagrams may still be exchanged."""
        self._no_longer_unproven(peer)
        if peer.proven and self._live.get(peer.peer_id) is peer:
            del self._live[peer.peer_id]
            self._replaced.on_end(peer.peer_id, reason, anyio.current_time())
        if peer.proven:
            self._watchers.put(ConnectionEvent(kind="down", connection=peer, reason=reason))

    def on_terminated(self, peer: QuicPeer) -> None:
        """Nothing will ever come for the connection again."""
        for cid in list(peer.cids):
            self.unroute(cid, peer)
        peer.linger_until = None
        peer.timer_at = float("inf")
        peer.abandoned = True
        self._no_longer_unproven(peer)
        if peer in self._peers:
            self._peers.discard(peer)
            if not peer.dialled:
                self._door.leave(peer.source)

    def on_link(self, link: QuicLink, name: str) -> None:
        """A peer opened a link and said its protocol."""
        served = self._handlers.get(name)
        if served is None or self._tasks is None:
            self.counters["unknown protocol"] += 1
            link.close(f"protocol {name!r:.60} is not served here")
            return
        protocol, handler = served
        link.adopt(protocol)
        self._tasks.start_soon(self._handle, link, handler, name=f"serve {name}")

    # --- inner workings

    def _new_peer(
        self, quic: Any, keylog: KeyLog, address: tuple[Any, ...], *, wanted: PeerId | None, size: int
    ) -> QuicPeer:
        return QuicPeer(self, quic, keylog, address, wanted=wanted, size=size)

    async def _handle(self, link: QuicLink, handler: Handler) -> None:
        try:
            await handler(link)
        except TransportError as error:
            link.close(str(error))
        except Exception as error:
            logger.exception("the handler of %s failed", link.protocol.name)
            link.close(f"internal error: {type(error).__name__}")
        finally:
            link.close("done")
