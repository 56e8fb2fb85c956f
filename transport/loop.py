"""The loop around a socket: datagrams in, to the QUIC engine of the connection that they are for; datagrams out; and time.

A non-blocking socket is drained whenever it can be read; whatever tasks send in one turn of the event loop leaves in one
flush. The reader, and one task that flushes and minds the timers, own every connection's state. Whatever the QUIC engine
raises on any call costs that connection only.
"""

from __future__ import annotations

import errno
import heapq
import logging
import secrets
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import anyio

from transport import handshake, routes
from transport.backend import loop_clock, whenever_readable
from transport.config import QuicConfig
from transport.engine import SERVER_NAME, quic_engine
from transport.handshake import KeyLog
from transport.identity import PeerId, SecretKey
from transport.local import certificate
from transport.qlog import QlogDirectory
from transport.quic import CODE_REFUSED, QuicPeer
from transport.sizes import Sizes

logger = logging.getLogger("transport")

BATCH = 128
"""Datagrams read at one wake-up at most."""
SLACK = 0.004
"""Seconds that what a connection at rest owes, an acknowledgement mostly, may come late: so it mostly leaves with something
else. Peers allow for 25 ms (RFC 9000, section 18.2)."""
FULL = 64
"""Bytes that a datagram may be short of the largest and still count as full: more is likely to wait behind it."""
LOOK = 1.0
"""Seconds between two looks at links that may have stalled, and at connections that nobody may use."""
PROOF_TIMEOUT = 5.0
"""Seconds that an accepted connection has to prove who it is."""
FIRST_CREDIT = 256 * 1024
"""Bytes that a connection may send at first, and at most while it is unproven; QUIC's credit grows as it is used."""


class SocketLoop(ABC):
    """One socket's connections.

    Attributes:
        key: The node's identity.
        peer_id: Its public side.
        instance: 8 random bytes of this process.
        counters: What was counted since the start, by name.
        engine: What speaks QUIC.
    """

    def __init__(self, key: SecretKey, sock: socket.socket, config: QuicConfig) -> None:
        self.key = key
        self.peer_id = key.peer_id
        self.instance = secrets.token_bytes(8)
        self.counters: Counter[str] = Counter()
        self.engine = quic_engine(config.engine)
        self._clock = loop_clock()
        self._sock = sock
        self._config = config
        self._certificate, self._private_key = certificate()
        self._qlog = QlogDirectory(config.qlog) if config.qlog is not None else None
        self._sizes = Sizes(config.datagram_size, sock.family)
        self._routes: dict[bytes, QuicPeer] = {}
        self._peers: set[QuicPeer] = set()
        self._live: dict[PeerId, QuicPeer] = {}
        self._dirty: dict[QuicPeer, None] = {}
        self._flush_now = anyio.Event()
        self._flush_at = float("-inf")
        self._reading = False
        self._after: dict[Callable[[], None], None] = {}
        self._timers: list[tuple[float, int, QuicPeer]] = []
        self._ticket = count()
        self._hears_errors = routes.ask_for_errors(sock)
        self._io = anyio.CancelScope(shield=True)  # ends with the endpoint, so that goodbyes are still exchanged
        self._stopping = False

    # --- what the rest of an endpoint does

    @abstractmethod
    def _peer_for(self, data: bytes, address: tuple[Any, ...], now: float) -> QuicPeer | None:
        """The connection that a datagram belongs to, perhaps a new one."""

    @abstractmethod
    def _new_peer(
        self, quic: Any, keylog: KeyLog, address: tuple[Any, ...], *, wanted: PeerId | None, size: int
    ) -> QuicPeer:
        """A connection of this endpoint's."""

    @abstractmethod
    def on_terminated(self, peer: QuicPeer) -> None:
        """Nothing will ever come for the connection again."""

    # --- for connections

    def route(self, cid: bytes, peer: QuicPeer) -> None:
        """Datagrams for this connection id are the connection's."""
        self._routes[cid] = peer
        peer.cids.add(cid)

    def unroute(self, cid: bytes, peer: QuicPeer) -> None:
        """They no longer are."""
        if self._routes.get(cid) is peer:
            del self._routes[cid]
        peer.cids.discard(cid)

    async def _run_io(self) -> None:
        with self._io:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(whenever_readable, self._sock, self._read, name="transport read")
                tasks.start_soon(self._flush, name="transport flush")
                tasks.start_soon(self._keep_alive, name="transport keepalive")

    def mark(self, peer: QuicPeer) -> None:
        """The connection has something to send."""
        self._dirty[peer] = None
        if not self._reading and not peer.held:
            self._flush_now.set()

    def flush(self, peer: QuicPeer) -> None:
        """Send what the connection has queued in this very step."""
        peer.held = False
        if not self._reading and self._dirty.pop(peer, peer) is None:
            self._send(peer)

    def after_step(self, call: Callable[[], None]) -> None:
        """Call ``call`` once all that has arrived is handed over; once, however often it is asked for."""
        self._after[call] = None
        if not self._reading:
            self._flush_now.set()

    def send_now(self, peer: QuicPeer) -> None:
        """Send what the connection has queued, as far as it may."""
        if peer.abandoned:
            return
        peer.send_by = float("inf")
        now = self._clock()
        if peer.wrote:
            # An acknowledgement that would soon be due shares the datagram, instead of following in one of its own.
            now += self.engine.ack_delay
            peer.wrote = False
        try:
            for data, address in peer.quic.datagrams_to_send(now):
                peer.owed = max(0, peer.owed - len(data))
                peer.full = len(data) > peer.size - FULL
                if not self._send_raw(data, address) and peer.proven:
                    peer.break_off("the path takes only smaller datagrams")  # dialled again, it gets them
                if address != peer.address:
                    self.counters["peers that moved"] += 1  # QUIC validates the new path (RFC 9000, section 9)
                    peer.address = address
        except Exception as error:
            if not peer.proven and self.engine.must_wait(error):
                self.counters["sends put off"] += 1  # what comes next, or a timer, lets it send
            else:
                self.abandon(peer, error)

    def ask_engine(self, peer: QuicPeer, call: str, *args: Any, **kwargs: Any) -> Any:
        """Call the QUIC engine; what it raises costs the connection, and the answer is None."""
        if peer.abandoned:
            return None
        try:
            answer = getattr(peer.quic, call)(*args, **kwargs)
        except Exception as error:
            peer.on_failure(error)
            return None
        self.mark(peer)
        return answer

    def _read(self) -> None:
        self._reading = True
        try:
            self._read_batch()
        finally:
            self._reading = False
        if self._dirty or self._after:
            self._flush_now.set()  # sending made more to send

    def _read_batch(self) -> None:
        """Take what has come, deal with it as a whole, and send what that made."""
        touched: dict[QuicPeer, int] = {}
        now = self._clock()
        for _ in range(BATCH):
            try:
                data, address = self._sock.recvfrom(65536)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self._note_refusals(now)  # an earlier datagram of ours bounced
                continue
            self.counters["datagrams in"] += 1
            peer = self._peer_for(data, address, now)
            if peer is not None:
                peer.heard_at, peer.refused_at = now, None
                try:
                    peer.quic.receive_datagram(data, address, now=now)
                except Exception as error:
                    self.abandon(peer, error)
                else:
                    touched[peer] = touched.get(peer, 0) + len(data)
        for peer, size in touched.items():
            self.handle_events(peer)
            if peer.at_rest and size < routes.SMALLEST:
                peer.send_by = min(peer.send_by, now + self.engine.ack_delay + SLACK)
            else:
                self.mark(peer)
        self._finish_step()
        for peer in touched:
            if peer.send_by < peer.timer_at:
                self._set_timer(peer)
        if not touched:
            self._note_refusals(now)  # what woke us may stand in the error queue alone

    def _finish_step(self) -> None:
        """What came is handed over: let it be dealt with as a whole, then send what that made."""
        while self._after:
            after, self._after = self._after, {}
            for call in after:
                try:
                    call()
                except Exception:  # a bug of whoever reads a link: the other links go on
                    logger.exception("what deals with a link's messages failed")
        self._send_dirty()

    def handle_events(self, peer: QuicPeer) -> None:
        """Let a connection take what its engine has to tell."""
        if not peer.abandoned:
            try:
                peer.handle_events()
            except Exception as error:
                self.abandon(peer, error)

    def abandon(self, peer: QuicPeer, error: Exception) -> None:
        """What a peer sent made the QUIC engine fail: that costs the connection, never the node."""
        if peer.abandoned:
            return
        self.counters["engine failures"] += 1
        logger.warning("a connection with %s failed in the QUIC engine", peer.remote, exc_info=error)
        peer.abandoned = True
        peer.end(f"the QUIC engine failed: {type(error).__name__}")
        self.on_terminated(peer)

    def _note_refusals(self, now: float) -> None:
        """Nothing listens where some datagrams went. A hint only, for it could be forged: see :meth:`_keep_alive`."""
        if not self._hears_errors:
            return
        for refused in routes.refused_addresses(self._sock):
            for peer in list(self._peers):  # a ping may end one
                if peer.address[:2] == refused[:2] and peer.ended is None and peer.refused_at is None:
                    peer.refused_at = now
                    peer.ping()

    async def _flush(self) -> None:
        """Send what is queued, and mind the timers: sending moves them, so one task sleeps until either has work."""
        while True:
            if not self._dirty and not self._after:
                self._flush_at = self._next_timer
                with anyio.move_on_at(self._flush_at):
                    await self._flush_now.wait()
                self._flush_at = float("-inf")
            else:
                await anyio.lowlevel.checkpoint()
            self._flush_now = anyio.Event()
            self._on_timers()
            self._finish_step()

    def _send_dirty(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for peer in dirty:
            self._send(peer)

    def _send(self, peer: QuicPeer) -> None:
        self.send_now(peer)
        self.handle_events(peer)  # sending makes some, as of a new connection id
        if peer.timer_at > peer.heard_at + SLACK or not peer.at_rest:  # else it is looked at soon enough
            self._set_timer(peer)

    def _send_raw(self, data: bytes, address: tuple[Any, ...]) -> bool:
        """Send a datagram; false if it is too large for the path, and smaller ones must be used."""
        try:
            self._sock.sendto(data, address)
            self.counters["datagrams out"] += 1
        except (BlockingIOError, InterruptedError):
            self.counters["datagrams dropped by the system"] += 1  # QUIC sends them again
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self.counters["datagrams too large"] += 1
                self._lower(address)
                return False
            if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                self._note_refusals(self._clock())
        return True

    def _set_timer(self, peer: QuicPeer) -> None:
        timer = self._timer_of(peer)
        if timer < peer.timer_at:
            peer.timer_at = timer
            heapq.heappush(self._timers, (timer, next(self._ticket), peer))
            if len(self._timers) > 64 + 8 * len(self._peers):
                # Most are entries whose place another has taken. Each would hold its peer until its time comes.
                self._timers = [entry for entry in self._timers if entry[0] == entry[2].timer_at]
                heapq.heapify(self._timers)
            if timer < self._flush_at:
                self._flush_now.set()

    @property
    def _next_timer(self) -> float:
        while self._timers and self._timers[0][0] != self._timers[0][2].timer_at:
            heapq.heappop(self._timers)  # another entry of the same connection has taken its place
        return self._timers[0][0] if self._timers else float("inf")

    def _timer_of(self, peer: QuicPeer) -> float:
        """When the connection is to be looked at next."""
        timer: float | None = None
        if not peer.abandoned:
            try:
                timer = peer.quic.get_timer()
            except Exception as error:
                self.abandon(peer, error)
        if timer is None:
            return peer.send_by
        return min(timer + SLACK, peer.send_by) if peer.at_rest else timer

    def _on_timers(self) -> None:
        now = self._clock()
        while self._next_timer <= now:
            _, _, peer = heapq.heappop(self._timers)
            peer.timer_at = float("inf")
            if self._timer_of(peer) <= now:
                self.ask_engine(peer, "handle_timer", now=now)
                self.handle_events(peer)
            else:
                self._set_timer(peer)

    async def _keep_alive(self) -> None:
        """Signs of life; ends connections that were refused by the host or never proved who they are."""
        interval = min(self._config.keepalive / 4, 0.1)
        next_look = self._clock() + LOOK
        while True:
            await anyio.sleep(interval)
            now = self._clock()
            self._end_lingering(now)
            for peer in list(self._peers):
                if peer.ended is not None:
                    continue
                if peer.refused_at is not None and now - peer.refused_at > max(0.05, 3 * (peer.rtt or 0)):
                    # A forged refusal cannot keep the peer from answering the ping that it caused.
                    peer.break_off("nothing listens there any more")
                elif not peer.proven:
                    if not peer.dialled and now - peer.created_at > PROOF_TIMEOUT:
                        self.counters["refused: no proof"] += 1
                        peer.close("no proof of identity in time", code=CODE_REFUSED)
                else:
                    peer.mind_path(now)
                    if now - peer.pinged_at >= self._config.keepalive:
                        peer.ping()
            if now >= next_look:
                next_look = now + LOOK
                for peer in list(self._live.values()):
                    peer.look(now, self._config.unused_timeout)

    def _end_lingering(self, now: float) -> None:
        for peer in list(self._peers):
            if peer.linger_until is not None and now >= peer.linger_until:
                self.counters["lingered in vain"] += 1
                peer.break_off(peer.ended or "", peer.end_code or 0)

    def _configuration(self, keylog: KeyLog, *, is_client: bool, size: int) -> Any:
        return self.engine.configure(
            None if is_client else self._certificate,  # who the acceptor is, is proven inside (see handshake.py)
            self._private_key,
            is_client=is_client,
            alpn_protocols=list(handshake.WIRE_VERSIONS),
            idle_timeout=self._config.idle_timeout,
            max_datagram_size=size,
            max_data=FIRST_CREDIT,
            max_stream_data=FIRST_CREDIT,
            secrets_log_file=keylog,
            quic_logger=self._qlog,
            server_name=SERVER_NAME,
        )

    def _lower(self, address: tuple[Any, ...]) -> None:
        self.counters["paths that take less"] += 1
        self._sizes.lower(address, self._clock())
