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
from transport.door import Door, source_of
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
from transport.quic import CODE_DUPLICATE, CODE_NO_ALPN, CODE_REFUSED, CODE_WRONG_IDENTITY, LINGER, QuicLink, QuicPeer
from transport.sizes import Sizes
from transport.tasks import owned_tasks
from transport.wire import Protocol

logger = logging.getLogger("transport")

PROOF_TIMEOUT = 5.0
"""Seconds that an accepted connection has to prove who it is."""
LOOK = 1.0
"""Seconds between two looks at links that may have stalled, and at connections that nobody may use."""
FIRST_CREDIT = 256 * 1024
"""Bytes that a connection may send at first, and at most while it is unproven; QUIC's credit grows as it is used."""
DIALS_PER_PLACE = 2
"""Dials under way to one host and port at most, the others wait: whoever invents peers and says that all live at a victim's
address does not turn this node against the victim."""
LARGE_FIRST = 0.6
"""Part of the time for a handshake after which TLS with large datagrams is given up for a try with the smallest."""
STAGGER = 0.25
"""Seconds between the endpoints of one peer that are dialled (RFC 8305, section 8)."""
BATCH = 128
"""Datagrams read at one wake-up at most."""
ACK_SLACK = 0.004
"""Seconds that an acknowledgement without company may come late; peers allow for 25 ms (RFC 9000, section 18.2)."""
CODE_GIVEN_UP, CODE_BLACK_HOLE = 5, 6
VERSIONS = QuicConfiguration(is_client=False).supported_versions
DUPLICATE = "duplicate connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuicConfig:
    """Settings of QUIC links.

    Attributes:
        idle_timeout: Seconds of silence after which a connection is broken.
        keepalive: Seconds between signs of life on a quiet connection; they also measure the round trip.
        handshake_timeout: Seconds that a handshake may take.
        unused_timeout: Seconds after which a connection without a link is closed; whoever wants one dials again.
        datagram_size: Payload bytes of a datagram at most, 1200 to 16000; None follows the route's MTU.
        engine: ``aioquic``, ``qh3`` (faster, experimental, the extra ``fast``), or ``auto``: what the environment variable
            ``P2PRAFT_QUIC`` says, else aioquic.
    """

    idle_timeout: float = 8.0
    keepalive: float = 2.0
    handshake_timeout: float = 5.0
    unused_timeout: float = 60.0
    datagram_size: int | None = None
    engine: EngineName = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.keepalive < self.idle_timeout <= 600:
            raise ConfigError("keepalive must be above 0 and below idle_timeout, which is at most 600 seconds")
        if not 0.1 <= self.handshake_timeout <= 60:
            raise ConfigError("handshake_timeout must be 0.1 to 60 seconds")
        if not 1 <= self.unused_timeout <= 86_400:
            raise ConfigError("unused_timeout must be 1 to 86400 seconds")
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
                    await endpoint.stop()
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
        self._door = Door()
        self._live: dict[PeerId, QuicPeer] = {}
        self._dials: dict[PeerId, anyio.Event] = {}
        self._places: dict[tuple[Any, ...], tuple[anyio.Semaphore, int]] = {}
        self._sizes = Sizes(config.datagram_size, sock.family)
        self._dirty: dict[QuicPeer, None] = {}
        self._flush_now = anyio.Event()
        self._flush_at = float("-inf")
        self._reading = False
        self._after: dict[Callable[[], None], None] = {}
        self._timers: list[tuple[float, int, QuicPeer]] = []
        self._ticket = count()
        self._hears_errors = routes.ask_for_errors(sock)
        self._tasks: TaskGroup | None = None
        self._io = anyio.CancelScope(shield=True)  # ends with :meth:`stop`, so that goodbyes are still exchanged
        self._stopping = False

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

    def watch(self) -> AsyncIterator[ConnectionEvent]:
        return self._watchers.subscribe(ConnectionEvent(kind="up", connection=live) for live in self._live.values())

    # --- life

    def start(self, tasks: TaskGroup) -> None:
        """Begin to read, to flush and to mind the timers."""
        self._tasks = tasks
        tasks.start_soon(self._run_io, name="transport")

    async def stop(self) -> None:
        """Close every connection, give the peers a moment to receive what is queued, and fall silent."""
        self._stopping = True
        for peer in list(self._peers):
            peer.close("the peer stops")
        self._watchers.close()
        self._send_dirty()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LINGER):
            while any(peer.linger_until is not None for peer in self._peers):
                await anyio.sleep(0.005)
        self._end_lingering(float("inf"))
        self._send_dirty()
        self._io.cancel()

    async def _run_io(self) -> None:
        with self._io:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, name="transport read")
                tasks.start_soon(self._flush, name="transport flush")
                tasks.start_soon(self._keep_alive, name="transport keepalive")

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
                    peer.break_off("the path takes only smaller datagrams")  # dialled again, it gets them
                if address != peer.address:
                    self.counters["peers that moved"] += 1  # QUIC validates the new path (RFC 9000, section 9)
                    peer.address = address
        except Exception as error:
            self.abandon(peer, error)

    def ask_engine(self, peer: QuicPeer, call: str, *args: Any, **kwargs: Any) -> Any:
        """Call the QUIC engine; what it raises costs the connection, and the answer is None."""
        if peer.abandoned:
            return None
        try:
            answer = getattr(peer.quic, call)(*args, **kwargs)
        except Exception as error:
            self.abandon(peer, error)
            return None
        self.mark(peer)
        return answer

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
            standing.close(DUPLICATE if same_process else "replaced by a newer process", code=CODE_DUPLICATE)
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
        if peer.proven:
            self._watchers.put(ConnectionEvent(kind="down", connection=peer, reason=reason))

    def on_terminated(self, peer: QuicPeer) -> None:
        """Nothing will ever come for the connection again."""
        for cid in list(peer.cids):
            self.unroute(cid, peer)
        peer.linger_until = None
        peer.timer_at = float("inf")
        self._no_longer_unproven(peer)
        if peer in self._peers:
            self._peers.discard(peer)
            if not peer.dialled:
                self._door.leave(peer.source)

    def _no_longer_unproven(self, peer: QuicPeer) -> None:
        if peer in self._unproven:
            self._unproven.discard(peer)
            self._door.prove(peer.source)

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
        async with self._place(address):
            timeout = self._config.handshake_timeout
            size = self._sizes.of(address, anyio.current_time())
            silence = timeout * LARGE_FIRST if size > routes.SMALLEST else timeout
            peer = await self._shake_hands(peer_id, address, size, timeout, silence)
            if peer.end_code == CODE_GIVEN_UP and not peer.private and size > routes.SMALLEST:
                peer = await self._shake_hands(peer_id, address, routes.SMALLEST, timeout - silence, timeout)
                if peer.proven:
                    self._lower(address)
        if peer.proven and peer.ended is None:
            return peer
        if (live := self._live.get(peer_id)) is not None:
            return live
        reason, code = peer.ended or "", peer.end_code
        if code == CODE_WRONG_IDENTITY:
            raise WrongIdentity(f"{where} is another peer: {reason}")
        if code == CODE_NO_ALPN or "ALPN" in reason:
            raise VersionMismatch(f"{where} speaks no version that this node knows ({ALPN})")
        if code == CODE_REFUSED:
            raise ProofFailed(f"{where} refused this node: {reason}")
        if code == CODE_DUPLICATE:
            with anyio.move_on_after(1):  # the connection that stays is about to be proven
                while (live := self._live.get(peer_id)) is None:
                    await anyio.sleep(0.01)
                return live
        if code == CODE_GIVEN_UP:
            reason = f"no answer within {self._config.handshake_timeout:g} s"
        raise Unreachable(f"cannot reach {name}: {reason}")

    async def _shake_hands(
        self, peer_id: PeerId, address: tuple[Any, ...], size: int, timeout: float, silence: float
    ) -> QuicPeer:
        """A dialled connection that is proven, or over: after ``timeout``, or ``silence`` without TLS."""
        keylog = KeyLog()
        try:
            quic = self.engine.connection(configuration=self._configuration(keylog, is_client=True, size=size))
            quic.connect(address, now=anyio.current_time())
        except Exception as error:
            self.counters["engine failures"] += 1
            raise Unreachable(f"the QUIC engine failed: {type(error).__name__}: {error}") from error
        peer = QuicPeer(self, quic, keylog, address, wanted=peer_id, size=size)
        self._peers.add(peer)
        self.route(quic.host_cid, peer)
        self.mark(peer)
        try:
            with anyio.move_on_after(silence):
                await peer.settled.wait()
            if peer.private:
                with anyio.move_on_after(timeout - silence):
                    await peer.settled.wait()
        finally:
            if not peer.proven:
                peer.close("the dial was given up", code=CODE_GIVEN_UP)
        return peer

    @asynccontextmanager
    async def _place(self, address: tuple[Any, ...]) -> AsyncIterator[None]:
        """A turn to dial ``address``; waits while enough others do."""
        turns, users = self._places.get(address, (anyio.Semaphore(DIALS_PER_PLACE), 0))
        self._places[address] = (turns, users + 1)
        try:
            async with turns:
                await anyio.lowlevel.checkpoint_if_cancelled()  # a turn that comes with the end of our time is not used
                yield
        finally:
            turns, users = self._places.pop(address)
            if users > 1:
                self._places[address] = (turns, users - 1)

    def _configuration(self, keylog: KeyLog, *, is_client: bool, size: int) -> Any:
        return self.engine.configure(
            None if is_client else self._certificate,  # who the acceptor is, is proven inside (see handshake.py)
            self._private_key,
            is_client=is_client,
            alpn_protocols=[ALPN],
            idle_timeout=self._config.idle_timeout,
            max_datagram_size=size,
            max_data=FIRST_CREDIT,
            max_stream_data=FIRST_CREDIT,
            secrets_log_file=keylog,
            server_name="p2praft.invalid",
        )

    def _lower(self, address: tuple[Any, ...]) -> None:
        self.counters["paths that take less"] += 1
        self._sizes.lower(address, anyio.current_time())

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
        if peer.abandoned:
            return
        self.counters["engine failures"] += 1
        logger.warning("a connection with %s failed in the QUIC engine", peer.remote, exc_info=error)
        peer.abandoned = True
        peer.end(f"the QUIC engine failed: {type(error).__name__}")
        self.on_terminated(peer)

    def _peer_for(self, data: bytes, address: tuple[Any, ...], now: float) -> QuicPeer | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        except Exception:  # ValueError by its contract; a datagram must not stop the node if that is not all
            self.counters["garbage datagrams"] += 1
            return None
        peer = self._routes.get(header.destination_cid)
        if peer is not None:
            return peer
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION or header.version is None:
            self.counters["unroutable datagrams"] += 1
            return None
        if header.version not in VERSIONS:
            self.counters["refused: unknown QUIC version"] += 1
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
        return self._accept(header, address, now, len(data))

    def _accept(self, header: Any, address: tuple[Any, ...], now: float, length: int) -> QuicPeer | None:
        original, retry_source = header.destination_cid, None
        if self._stopping:
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
        source = source_of(str(address[0]))
        answer = self._door.answer(source, connections=len(self._peers), validated=retry_source is not None)
        if answer == "retry":
            self._ask_to_retry(header, address, now)
            return None
        if answer != "accept":
            self.counters[f"refused: {answer}"] += 1
            return None
        keylog = KeyLog()
        size = self._sizes.of(address, now)
        if self.engine.pads:
            size = min(size, length)  # a dialler that has found the path to be narrow begins small
        try:
            quic = self.engine.connection(
                configuration=self._configuration(keylog, is_client=False, size=size),
                original_destination_connection_id=original,
                retry_source_connection_id=retry_source,
            )
        except Exception:  # what the engine makes of a stranger's first datagram is no reason to stop
            self.counters["engine failures"] += 1
            return None
        peer = QuicPeer(self, quic, keylog, address, wanted=None, size=size)
        peer.source = source
        self._peers.add(peer)
        self._unproven.add(peer)
        self._door.enter(source)
        self.route(header.destination_cid, peer)
        self.route(quic.host_cid, peer)
        self.counters["accepted"] += 1
        return peer

    def _ask_to_retry(self, header: Any, address: tuple[Any, ...], now: float) -> None:
        """Have the sender show that it receives what is sent to its address; nothing is remembered."""
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
                self._lower(address)
                return False
            if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                self._note_refusals(anyio.current_time())
        return True

    # --- time

    def _set_timer(self, peer: QuicPeer) -> None:
        timer = self._timer_of(peer)
        if timer is None:
            return
        if timer == peer.heard_at + self.engine.ack_delay:
            peer.ack_due = timer
        if timer == peer.ack_due:
            timer += ACK_SLACK  # it mostly leaves with something else before
        if timer < peer.timer_at:
            peer.timer_at = timer
            heapq.heappush(self._timers, (timer, next(self._ticket), peer))
            if len(self._timers) > 64 + 8 * len(self._peers):
                # Most are entries whose place another has taken. Each would hold its peer until its time comes.
                self._timers = [entry for entry in self._timers if entry[0] == entry[2].timer_at]
                heapq.heapify(self._timers)
            if timer < self._flush_at:
                self._flush_now.set()

    def _timer_of(self, peer: QuicPeer) -> float | None:
        if peer.abandoned:
            return None
        try:
            timer: float | None = peer.quic.get_timer()
        except Exception as error:
            self.abandon(peer, error)
            return None
        return timer

    def _on_timers(self) -> None:
        now = anyio.current_time()
        while self._timers and self._timers[0][0] <= now:
            at, _, peer = heapq.heappop(self._timers)
            if at != peer.timer_at:
                continue  # another entry of the same connection has taken its place
            peer.timer_at = float("inf")
            timer = self._timer_of(peer)
            if timer is not None and timer <= now:
                self.ask_engine(peer, "handle_timer", now=now)
                self._handle_events(peer)
            else:
                self._set_timer(peer)

    async def _keep_alive(self) -> None:
        """Signs of life; ends connections that were refused by the host or never proved who they are."""
        interval = min(self._config.keepalive / 4, 0.1)
        next_look = anyio.current_time() + LOOK
        while True:
            await anyio.sleep(interval)
            now = anyio.current_time()
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
