"""One UDP socket per node that both dials and accepts, over a sans-I/O QUIC engine.

A non-blocking socket is awaited and drained at each wake-up; whatever tasks send in one turn of the event loop leaves in one
flush. One task reads, one flushes and minds the timers; they own every connection's state.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import anyio
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from anyio.abc import TaskGroup
from cryptography import x509
from cryptography.x509.oid import NameOID

from transport import routes
from transport.address import HostPort, PeerAddr
from transport.engine import EngineName, quic_engine
from transport.errors import (
    BindError,
    ConfigError,
    DialError,
    ProofFailed,
    TransportError,
    Unreachable,
    VersionMismatch,
    WrongIdentity,
)
from transport.feed import Feed
from transport.handshake import ALPN, KeyLog
from transport.identity import PeerId, SecretKey
from transport.link import Connection, ConnectionEvent, Endpoint, Handler, Transport
from transport.quic import CODE_DUPLICATE, CODE_REFUSED, CODE_WRONG_IDENTITY, QuicLink, QuicPeer
from transport.tasks import owned_tasks
from transport.wire import Protocol

logger = logging.getLogger("transport")

PROOF_TIMEOUT = 5.0
"""Seconds that an accepted connection has to prove who it is."""
MAX_UNPROVEN = 256
"""Accepted connections without proof at most; more are not answered."""
RETRY_ABOVE = 32
"""From this many on, addresses must be validated first (Retry, RFC 9000, section 8.1.2)."""
MAX_CONNECTIONS = 4096
"""Connections of any kind at most; more are not answered. Dialling is bounded by those who dial."""
FIRST_CREDIT = 256 * 1024
"""Bytes that a connection may send at first, and at most while it is unproven; QUIC's credit grows as it is used."""
STAGGER = 0.25
"""Seconds between the endpoints of one peer that are dialled (RFC 8305, section 8)."""
BATCH = 128
"""Datagrams read at one wake-up at most."""
ACK_SLACK = 0.004
"""Seconds that an acknowledgement without company may come late; peers allow for 25 ms (RFC 9000, section 18.2)."""
VERSIONS = QuicConfiguration(is_client=False).supported_versions
NO_ALPN = 0x100 + 120
"""CRYPTO_ERROR with TLS's no_application_protocol (RFC 9001, section 4.8; RFC 7301)."""
DUPLICATE = "duplicate connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuicConfig:
    """Settings of QUIC links.

    Attributes:
        idle_timeout: Seconds of silence after which a connection is broken.
        keepalive: Seconds between signs of life on a quiet connection; they also measure the round trip.
        handshake_timeout: Seconds that a handshake may take.
        datagram_size: Payload bytes of a datagram at most, 1200 to 16000; None follows the route's MTU.
        engine: ``aioquic``, ``qh3`` (faster, experimental, the extra ``fast``), or ``auto``: what the environment variable
            ``P2PRAFT_QUIC`` says, else aioquic.
    """

    idle_timeout: float = 8.0
    keepalive: float = 2.0
    handshake_timeout: float = 5.0
    datagram_size: int | None = None
    engine: EngineName = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.keepalive < self.idle_timeout <= 600:
            raise ConfigError("keepalive must be above 0 and below idle_timeout, which is at most 600 seconds")
        if not 0.1 <= self.handshake_timeout <= 60:
            raise ConfigError("handshake_timeout must be 0.1 to 60 seconds")
        if self.datagram_size is not None and not routes.SMALLEST <= self.datagram_size <= routes.LARGEST:
            raise ConfigError(f"datagram_size must be {routes.SMALLEST} to {routes.LARGEST} bytes")
        quic_engine(self.engine)


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
        sock = await _bind_socket(listen)
        endpoint = QuicEndpoint(key, sock, self._config, tuple(advertise))
        try:
            async with owned_tasks() as tasks:
                endpoint.start(tasks)
                try:
                    yield endpoint
                finally:
                    endpoint.stop()
        finally:
            sock.close()


class QuicEndpoint(Endpoint):
    """A bound node. See :class:`~transport.link.Endpoint`.

    Attributes:
        key: The node's identity.
        instance: 8 random bytes of this process.
        engine: What speaks QUIC.
    """

    def __init__(
        self, key: SecretKey, sock: socket.socket, config: QuicConfig, advertise: tuple[HostPort, ...]
    ) -> None:
        self.key = key
        self.peer_id = key.peer_id
        self.instance = secrets.token_bytes(8)
        self.counters = Counter()
        name = sock.getsockname()
        self._bound = HostPort(name[0], name[1])
        self.address = PeerAddr(self.peer_id, advertise or routes.advertised(self._bound, sock.family))
        self._advertise = advertise
        self._sock = sock
        self._config = config
        self.engine = quic_engine(config.engine)
        self._certificate, self._private_key = _certificate()
        self._retry = QuicRetryTokenHandler()
        self._watchers: Feed[ConnectionEvent] = Feed()
        self._handlers: dict[str, tuple[Protocol, Handler]] = {}
        self._routes: dict[bytes, QuicPeer] = {}
        self._peers: set[QuicPeer] = set()
        self._unproven: set[QuicPeer] = set()
        self._live: dict[PeerId, QuicPeer] = {}
        self._dials: dict[PeerId, anyio.Event] = {}
        self._sizes: dict[str, int] = {}
        self._dirty: dict[QuicPeer, None] = {}
        self._flush_now = anyio.Event()
        self._flush_at = float("-inf")
        self._reading = False
        self._after: dict[Callable[[], None], None] = {}
        self._timers: list[tuple[float, int, QuicPeer]] = []
        self._ticket = count()
        self._hears_errors = routes.ask_for_errors(sock)
        self._tasks: TaskGroup | None = None

    # --- the contract

    @property
    def connections(self) -> Mapping[PeerId, Connection]:
        return self._live

    async def connect(self, addr: PeerAddr, *, timeout: float = 10) -> Connection:
        if addr.peer_id == self.peer_id:
            raise DialError(f"{addr.peer_id.short} is this node itself")
        reason: DialError | None = None
        with anyio.move_on_after(timeout):
            while True:
                await anyio.lowlevel.checkpoint()
                if (live := self._live.get(addr.peer_id)) is not None:
                    return live
                if (dialling := self._dials.get(addr.peer_id)) is not None:
                    await dialling.wait()  # somebody else is at it
                    if addr.peer_id not in self._live and reason is None:
                        reason = Unreachable(f"cannot reach {addr.peer_id.short}: another attempt has just failed")
                        continue
                else:
                    self._dials[addr.peer_id] = done = anyio.Event()
                    try:
                        return await self._dial_any(addr)
                    except DialError as error:
                        reason = error
                    finally:
                        del self._dials[addr.peer_id]
                        done.set()
                if addr.peer_id not in self._live:
                    raise reason or Unreachable(f"cannot reach {addr.peer_id.short}")
        where = ", ".join(map(str, addr.endpoints))
        raise reason or Unreachable(f"cannot reach {addr.peer_id.short} at {where}: no answer within {timeout:g} s")

    def serve(self, protocol: Protocol, handler: Handler) -> None:
        self._handlers[protocol.name] = (protocol, handler)

    def unserve(self, protocol: Protocol) -> None:
        self._handlers.pop(protocol.name, None)

    def look_up_address(self) -> PeerAddr:
        if not self._advertise:
            self.address = PeerAddr(self.peer_id, routes.advertised(self._bound, self._sock.family))
        return self.address

    def watch(self) -> AsyncIterator[ConnectionEvent]:
        return self._watchers.subscribe(ConnectionEvent(kind="up", connection=live) for live in self._live.values())

    # --- life

    def start(self, tasks: TaskGroup) -> None:
        """Begin to read, to flush and to mind the timers."""
        self._tasks = tasks
        tasks.start_soon(self._read, name="transport read")
        tasks.start_soon(self._flush, name="transport flush")
        tasks.start_soon(self._keep_alive, name="transport keepalive")

    def stop(self) -> None:
        """Send what is queued, tell every peer, once, and fall silent."""
        for peer in list(self._peers):
            peer.close("the peer stops")
        self._send_dirty()
        self._watchers.close()

    # --- for connections

    def mark(self, peer: QuicPeer) -> None:
        """The connection has something to send."""
        self._dirty[peer] = None
        if not self._reading:
            self._flush_now.set()

    def flush(self, peer: QuicPeer) -> None:
        """Send what the connection has queued in this very step."""
        if not self._reading and self._dirty.pop(peer, peer) is None:
            self._send(peer)

    def after_step(self, call: Callable[[], None]) -> None:
        """Call ``call`` once all that has arrived is handed over; once, however often it is asked for."""
        self._after[call] = None
        if not self._reading:
            self._flush_now.set()

    def send_now(self, peer: QuicPeer, now: float | None = None) -> None:
        """Send what the connection has queued, as far as it may."""
        if peer.abandoned:
            return
        now = anyio.current_time() if now is None else now
        if peer.wrote:
            # An acknowledgement that would soon be due shares the datagram, instead of following in one of its own.
            now += self.engine.ack_delay
            peer.wrote = False
        try:
            for data, address in peer.quic.datagrams_to_send(now):
                if not self._send_raw(data, address) and peer.proven:
                    peer.end("the path takes only smaller datagrams")  # dialled again, it gets them
        except Exception as error:
            self.abandon(peer, error)

    def route(self, cid: bytes, peer: QuicPeer) -> None:
        """Datagrams for this connection id are the connection's."""
        self._routes[cid] = peer
        peer.cids.add(cid)

    def unroute(self, cid: bytes, peer: QuicPeer) -> None:
        """They no longer are."""
        if self._routes.get(cid) is peer:
            del self._routes[cid]
        peer.cids.discard(cid)

    def on_proven(self, peer: QuicPeer) -> None:
        """Both proofs hold. Of two connections to one peer, one stays."""
        self._unproven.discard(peer)
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
            standing.close(DUPLICATE if same_process else "replaced by a newer process", code=CODE_DUPLICATE)
        self._live[peer.peer_id] = peer
        self._watchers.put(ConnectionEvent(kind="up", connection=peer))
        peer.ping()

    def on_end(self, peer: QuicPeer, reason: str) -> None:
        """A connection is over; its closing datagrams may still be exchanged."""
        self._unproven.discard(peer)
        if peer.proven and self._live.get(peer.peer_id) is peer:
            del self._live[peer.peer_id]
        if peer.proven:
            self._watchers.put(ConnectionEvent(kind="down", connection=peer, reason=reason))

    def on_terminated(self, peer: QuicPeer) -> None:
        """Nothing will ever come for the connection again."""
        for cid in list(peer.cids):
            self.unroute(cid, peer)
        self._peers.discard(peer)
        self._unproven.discard(peer)

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

    # --- dialling

    async def _dial_any(self, addr: PeerAddr) -> Connection:
        """Dial every endpoint, each a moment after the one before; the first that answers as the peer is taken.

        Source: RFC 8305 ("Happy Eyeballs"), section 5: a dead address must not hold up those behind it.
        """
        problems: list[DialError] = []
        found: list[Connection] = []
        async with anyio.create_task_group() as tasks:

            async def attempt(where: HostPort, failed: anyio.Event) -> None:
                try:
                    found.append(await self._dial(addr.peer_id, where))
                except DialError as error:
                    problems.append(error)
                    failed.set()
                else:
                    tasks.cancel_scope.cancel()

            for where in addr.endpoints:
                failed = anyio.Event()
                tasks.start_soon(attempt, where, failed, name=f"dial {where}")
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
        if (live := self._live.get(addr.peer_id)) is not None:
            return live
        if found:
            return found[0]
        raise next((problem for problem in problems if not isinstance(problem, Unreachable)), problems[0])

    async def _dial(self, peer_id: PeerId, where: HostPort) -> Connection:
        name = f"{peer_id.short} at {where}"
        try:
            found = await anyio.getaddrinfo(where.host, where.port, family=self._sock.family, type=socket.SOCK_DGRAM)
            address = routes.socket_address(found[0][4])
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"cannot reach {name}: {getattr(error, 'strerror', None) or error}") from None
        keylog = KeyLog()
        quic = self.engine.connection(configuration=self._configuration(keylog, is_client=True, address=address))
        peer = QuicPeer(self, quic, keylog, address, wanted=peer_id)
        quic.connect(address, now=anyio.current_time())
        self._peers.add(peer)
        self.route(quic.host_cid, peer)
        self.mark(peer)
        try:
            with anyio.move_on_after(self._config.handshake_timeout):
                await peer.settled.wait()
        finally:
            if not peer.proven:
                peer.close("the dial was given up")
        if peer.proven and peer.ended is None:
            return peer
        if (live := self._live.get(peer_id)) is not None:
            return live
        reason, code = peer.ended or "", peer.end_code
        if code == CODE_WRONG_IDENTITY:
            raise WrongIdentity(f"{where} is another peer: {reason}")
        if code == NO_ALPN or "ALPN" in reason:
            raise VersionMismatch(f"{where} speaks no version that this node knows ({ALPN})")
        if code == CODE_REFUSED:
            raise ProofFailed(f"{where} refused this node: {reason}")
        if code == CODE_DUPLICATE:
            with anyio.move_on_after(1):  # the connection that stays is about to be proven
                while (live := self._live.get(peer_id)) is None:
                    await anyio.sleep(0.01)
                return live
        if reason == "the dial was given up":
            reason = f"no answer within {self._config.handshake_timeout:g} s"
        raise Unreachable(f"cannot reach {name}: {reason}")

    def _configuration(self, keylog: KeyLog, *, is_client: bool, address: tuple[Any, ...]) -> Any:
        return self.engine.configure(
            None if is_client else self._certificate,  # who the acceptor is, is proven inside (see handshake.py)
            self._private_key,
            is_client=is_client,
            alpn_protocols=[ALPN],
            idle_timeout=self._config.idle_timeout,
            max_datagram_size=self._datagram_size(address),
            max_data=FIRST_CREDIT,
            max_stream_data=FIRST_CREDIT,
            secrets_log_file=keylog,
            server_name="p2praft.invalid",
        )

    def _datagram_size(self, address: tuple[Any, ...]) -> int:
        if self._config.datagram_size is not None:
            return self._config.datagram_size
        host = str(address[0])
        if host not in self._sizes:
            if len(self._sizes) > 4096:
                self._sizes.clear()
            self._sizes[host] = routes.datagram_size(address, self._sock.family)
        return self._sizes[host]

    # --- reading

    async def _read(self) -> None:
        while True:
            await anyio.wait_readable(self._sock)
            self._reading = True
            touched: dict[QuicPeer, None] = {}
            now = anyio.current_time()
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
                        touched[peer] = None
            for peer in touched:
                self._handle_events(peer)
                self.mark(peer)
            self._finish_step()
            self._reading = False
            if not touched:
                self._note_refusals(now)  # what woke us may stand in the error queue alone

    def _finish_step(self) -> None:
        """What came is handed over: let it be dealt with as a whole, then send what that made."""
        while self._after:
            after, self._after = self._after, {}
            for call in after:
                call()
        self._send_dirty()

    def _handle_events(self, peer: QuicPeer) -> None:
        if not peer.abandoned:
            try:
                peer.handle_events()
            except Exception as error:
                self.abandon(peer, error)

    def abandon(self, peer: QuicPeer, error: Exception) -> None:
        """What a peer sent made the QUIC engine fail: that costs the connection, never the node."""
        self.counters["engine failures"] += 1
        logger.warning("a connection with %s failed in the QUIC engine", peer.remote, exc_info=error)
        peer.abandoned = True
        peer.end(f"the QUIC engine failed: {type(error).__name__}")
        self.on_terminated(peer)

    def _peer_for(self, data: bytes, address: tuple[Any, ...], now: float) -> QuicPeer | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        except ValueError:
            self.counters["garbage datagrams"] += 1
            return None
        peer = self._routes.get(header.destination_cid)
        if peer is not None:
            return peer
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION or header.version is None:
            self.counters["unroutable datagrams"] += 1
            return None
        if header.version not in VERSIONS:
            if len(data) >= routes.SMALLEST:
                self._send_raw(
                    encode_quic_version_negotiation(
                        source_cid=header.destination_cid,
                        destination_cid=header.source_cid,
                        supported_versions=VERSIONS,
                    ),
                    address,
                )
            return None
        if header.packet_type != QuicPacketType.INITIAL or len(data) < routes.SMALLEST:
            self.counters["unroutable datagrams"] += 1
            return None
        return self._accept(header, address, now)

    def _accept(self, header: Any, address: tuple[Any, ...], now: float) -> QuicPeer | None:
        original, retry_source = header.destination_cid, None
        if len(self._unproven) >= MAX_UNPROVEN or len(self._peers) >= MAX_CONNECTIONS:
            self.counters["refused: too many connections"] += 1
            return None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=address, destination_cid=header.destination_cid, token=header.token, now=now
                )
            except ValueError:
                self.counters["refused: bad retry token"] += 1
                return None
            retry_source = header.destination_cid
        elif len(self._unproven) >= RETRY_ABOVE:
            source = os.urandom(8)
            token = self._retry.create_token(
                address=address,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source,
                now=now,
            )
            self._send_raw(
                encode_quic_retry(
                    version=header.version,
                    source_cid=source,
                    destination_cid=header.source_cid,
                    original_destination_cid=header.destination_cid,
                    retry_token=token,
                ),
                address,
            )
            self.counters["retries"] += 1
            return None
        keylog = KeyLog()
        quic = self.engine.connection(
            configuration=self._configuration(keylog, is_client=False, address=address),
            original_destination_connection_id=original,
            retry_source_connection_id=retry_source,
        )
        peer = QuicPeer(self, quic, keylog, address, wanted=None)
        self._peers.add(peer)
        self._unproven.add(peer)
        self.route(header.destination_cid, peer)
        self.route(quic.host_cid, peer)
        self.counters["accepted"] += 1
        return peer

    def _note_refusals(self, now: float) -> None:
        """Nothing listens where some datagrams went. A hint only, for it could be forged: see :meth:`_keep_alive`."""
        if not self._hears_errors:
            return
        for refused in routes.refused_addresses(self._sock):
            for peer in self._peers:
                if peer.address[:2] == refused[:2] and peer.ended is None and peer.refused_at is None:
                    peer.refused_at = now
                    peer.ping()

    # --- sending

    async def _flush(self) -> None:
        """Send what is queued, and mind the timers: sending moves them, so one task sleeps until either has work."""
        while True:
            if not self._dirty and not self._after:
                self._flush_at = self._timers[0][0] if self._timers else float("inf")
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
        self._handle_events(peer)
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
                self._sizes[str(address[0])] = routes.SMALLEST
                return False
            if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                self._note_refusals(anyio.current_time())
        return True

    # --- time

    def _set_timer(self, peer: QuicPeer) -> None:
        timer = None if peer.abandoned else peer.quic.get_timer()
        if timer is None:
            return
        if timer == peer.heard_at + self.engine.ack_delay:
            peer.ack_due = timer
        if timer == peer.ack_due:
            timer += ACK_SLACK  # it mostly leaves with something else before
        if timer < peer.timer_at:
            peer.timer_at = timer
            heapq.heappush(self._timers, (timer, next(self._ticket), peer))
            if timer < self._flush_at:
                self._flush_now.set()

    def _on_timers(self) -> None:
        now = anyio.current_time()
        while self._timers and self._timers[0][0] <= now:
            at, _, peer = heapq.heappop(self._timers)
            if at != peer.timer_at:
                continue  # another entry of the same connection has taken its place
            peer.timer_at = float("inf")
            timer = None if peer.abandoned else peer.quic.get_timer()
            if timer is not None and timer <= now:
                try:
                    peer.quic.handle_timer(now=now)
                except Exception as error:
                    self.abandon(peer, error)
                self._handle_events(peer)
                self.mark(peer)
            else:
                self._set_timer(peer)

    async def _keep_alive(self) -> None:
        """Signs of life; ends connections that were refused by the host or never proved who they are."""
        interval = min(self._config.keepalive / 4, 0.1)
        while True:
            await anyio.sleep(interval)
            now = anyio.current_time()
            for peer in list(self._peers):
                if peer.ended is not None:
                    continue
                if peer.refused_at is not None and now - peer.refused_at > max(0.05, 3 * (peer.rtt or 0)):
                    # A forged refusal cannot keep the peer from answering the ping that it caused.
                    peer.close("nothing listens there any more")
                elif not peer.proven:
                    if not peer.dialled and now - peer.created_at > PROOF_TIMEOUT:
                        self.counters["refused: no proof in time"] += 1
                        peer.close("no proof of identity in time", code=CODE_REFUSED)
                elif now - peer.pinged_at >= self._config.keepalive:
                    peer.ping()

    # --- serving

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


async def _bind_socket(listen: HostPort) -> socket.socket:
    try:
        found = await anyio.getaddrinfo(listen.host, listen.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BindError(f"cannot listen on {listen}: {getattr(error, 'strerror', None) or error}") from None
    family, _, _, _, address = found[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 4 * 1024 * 1024)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            text = "another process uses it; choose another port, or 0 for a free one"
        elif error.errno == errno.EADDRNOTAVAIL:
            text = "this machine has no such address; 0.0.0.0 listens on all it has"
        elif error.errno == errno.EACCES:
            text = "not allowed; ports below 1024 need privileges"
        else:
            text = error.strerror or str(error)
        raise BindError(f"cannot listen on {listen}: {text}") from None
    return sock


def _certificate() -> tuple[x509.Certificate, Any]:
    """A self-signed certificate that TLS needs and nobody trusts. It names nobody and never expires."""
    key = SecretKey.generate().private_key
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p2praft")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .sign(key, None)
    )
    return certificate, key
