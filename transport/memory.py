"""A network in memory, with the same contract as QUIC: latency, loss, partitions, crashes, all from one seed.

Links stay ordered and reliable while they live; loss shows as delay, as a retransmission would. What stays cut for longer
than ``idle_timeout`` breaks. On trio's autojumping mock clock, whole networks run hours of virtual time in seconds.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from transport.address import HostPort, PeerAddr
from transport.errors import (
    BindError,
    DialError,
    LinkClosed,
    LinkFull,
    TransportError,
    Unreachable,
    WireError,
    WrongIdentity,
)
from transport.feed import Feed
from transport.identity import PeerId, SecretKey
from transport.link import REPLACED, Connection, ConnectionEvent, Endpoint, Handler, Link, Replaced, Transport
from transport.tasks import owned_tasks
from transport.wire import Protocol

logger = logging.getLogger("transport")


class MemoryNetwork:
    """Hosts that can reach each other, until told otherwise.

    Args:
        seed: Of all its dice.
        latency: Seconds that a frame takes.
        jitter: Up to this many seconds are added.
        loss: Probability that a frame is lost and sent again after ``retransmit`` seconds.
        retransmit: Seconds.
        idle_timeout: Seconds of silence after which a connection breaks.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: float = 0.001,
        jitter: float = 0.0,
        loss: float = 0.0,
        retransmit: float = 0.2,
        idle_timeout: float = 5.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.latency = latency
        self.jitter = jitter
        self.loss = loss
        self.retransmit = retransmit
        self.idle_timeout = idle_timeout
        self._endpoints: dict[HostPort, MemoryEndpoint] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._connections = 0
        self._ports = 40_000

    def transport(self, host: str) -> Transport:
        """The transport of one host."""
        return MemoryTransport(self, host)

    # --- faults

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Nothing gets from host ``a`` to host ``b`` any more, nor back unless ``one_way``."""
        self._cuts.add((a, b))
        if not one_way:
            self._cuts.add((b, a))

    def partition(self, *groups: Iterable[str]) -> None:
        """Hosts of different groups cannot reach each other; hosts in no group are not touched."""
        sets = [set(group) for group in groups]
        for at, group in enumerate(sets):
            for other in sets[at + 1 :]:
                for a in group:
                    for b in other:
                        self.cut(a, b)

    def heal(self) -> None:
        """All hosts can reach each other again."""
        self._cuts.clear()

    def break_links(self, a: str, b: str) -> None:
        """Break the connections between two hosts at once, so that both notice."""
        for endpoint in list(self._endpoints.values()):
            if endpoint.host in (a, b):
                for connection in list(endpoint.all_connections):
                    if connection.remote.host in (a, b):
                        connection.fail("the connection broke")

    def crash(self, host: str) -> None:
        """All that runs on the host falls silent; its peers notice when their connections idle out."""
        for where, endpoint in list(self._endpoints.items()):
            if endpoint.host == host:
                endpoint.crashed = True
                del self._endpoints[where]

    # --- for endpoints

    def reaches(self, a: str, b: str) -> bool:
        """Whether frames get from ``a`` to ``b`` now."""
        return (a, b) not in self._cuts

    def delay(self) -> float:
        """Seconds that the next frame takes."""
        delay = self.latency + self.rng.uniform(0, self.jitter)
        while self.loss and self.rng.random() < self.loss:
            delay += self.retransmit
        return delay

    def next_binding(self) -> bytes:
        """A channel binding that no other connection has."""
        self._connections += 1
        return hashlib.sha256(f"memory connection {self._connections}".encode()).digest()

    def bind(self, endpoint: MemoryEndpoint, listen: HostPort) -> HostPort:
        """Take an address."""
        port = listen.port
        if port == 0:
            self._ports += 1
            port = self._ports
        where = HostPort(endpoint.host, port)
        if where in self._endpoints:
            raise BindError(f"cannot listen on {where}: it is in use; choose another port, or 0 for a free one")
        self._endpoints[where] = endpoint
        return where

    def release(self, where: HostPort, endpoint: MemoryEndpoint) -> None:
        """Give the address back."""
        if self._endpoints.get(where) is endpoint:
            del self._endpoints[where]

    def at(self, where: HostPort) -> MemoryEndpoint | None:
        """Who listens there."""
        return self._endpoints.get(where)


class MemoryTransport(Transport):
    """One host's transport."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host

    def bind(
        self, key: SecretKey, *, listen: HostPort, advertise: Sequence[HostPort] = ()
    ) -> AbstractAsyncContextManager[Endpoint]:
        return self._bind(key, listen, advertise)

    @asynccontextmanager
    async def _bind(
        self, key: SecretKey, listen: HostPort, advertise: Sequence[HostPort]
    ) -> AsyncIterator[MemoryEndpoint]:
        endpoint = MemoryEndpoint(self._network, self._host, key.peer_id)
        endpoint.bound = where = self._network.bind(endpoint, listen)
        endpoint.address = PeerAddr(key.peer_id, tuple(advertise) or (where,))
        async with owned_tasks() as tasks:
            endpoint.tasks = tasks
            try:
                yield endpoint
            finally:
                self._network.release(where, endpoint)
                for connection in list(endpoint.all_connections):
                    connection.close("the peer stops")
                endpoint.watchers.close()


class MemoryEndpoint(Endpoint):
    """A node on a host."""

    tasks: TaskGroup

    def __init__(self, network: MemoryNetwork, host: str, peer_id: PeerId) -> None:
        self.network = network
        self.host = host
        self.peer_id = peer_id
        self.counters = Counter()
        self.crashed = False
        self.watchers: Feed[ConnectionEvent] = Feed()
        self.handlers: dict[str, tuple[Protocol, Handler]] = {}
        self.all_connections: set[MemoryConnection] = set()
        self._live: dict[PeerId, MemoryConnection] = {}
        self._replaced = Replaced()

    @property
    def connections(self) -> Mapping[PeerId, Connection]:
        return self._live

    async def connect(self, addr: PeerAddr, *, timeout: float = 10) -> Connection:
        if addr.peer_id == self.peer_id:
            raise DialError(f"{addr.peer_id.short} is this node itself")
        await anyio.lowlevel.checkpoint()
        if (live := self._live.get(addr.peer_id)) is not None:
            return live
        with anyio.move_on_after(timeout):
            await self._replaced.wait(addr.peer_id)
        reason = "nothing answers"
        for where in addr.endpoints:
            with anyio.move_on_after(timeout / len(addr.endpoints)):
                while True:
                    await anyio.sleep(2 * self.network.delay())  # a handshake's round trip
                    if (live := self._live.get(addr.peer_id)) is not None:
                        return live
                    other = self.network.at(where)
                    if other is None:
                        break
                    both = self.network.reaches(self.host, other.host) and self.network.reaches(other.host, self.host)
                    if both and not self.crashed:
                        if other.peer_id != addr.peer_id:
                            raise WrongIdentity(f"{where} is {other.peer_id.short}, not {addr.peer_id.short}")
                        return self._pair(other, where)
        raise Unreachable(f"cannot reach {addr.peer_id.short} at {', '.join(map(str, addr.endpoints))}: {reason}")

    def serve(self, protocol: Protocol, handler: Handler) -> None:
        self.handlers[protocol.name] = (protocol, handler)

    def unserve(self, protocol: Protocol) -> None:
        self.handlers.pop(protocol.name, None)

    def watch(self) -> AsyncIterator[ConnectionEvent]:
        return self.watchers.subscribe(ConnectionEvent(kind="up", connection=live) for live in self._live.values())

    def up(self, connection: MemoryConnection) -> None:
        """A connection is proven."""
        self.all_connections.add(connection)
        self._live[connection.peer_id] = connection
        self.watchers.put(ConnectionEvent(kind="up", connection=connection))
        self.tasks.start_soon(connection.watch_silence)
        # The receiver's task: what is on its way, a goodbye above all, outlives the endpoint that sent it.
        connection.twin.endpoint.tasks.start_soon(connection.run)

    def down(self, connection: MemoryConnection, reason: str) -> None:
        """A connection has ended."""
        self.all_connections.discard(connection)
        if self._live.get(connection.peer_id) is connection:
            del self._live[connection.peer_id]
            self._replaced.on_end(connection.peer_id, reason, anyio.current_time())
        self.watchers.put(ConnectionEvent(kind="down", connection=connection, reason=reason))

    def _pair(self, other: MemoryEndpoint, where: HostPort) -> Connection:
        if (old := other._live.get(self.peer_id)) is not None:
            # The peer restarted. The old process is told, as over QUIC: it may live, if two processes have one key.
            old.close(REPLACED)
        binding = self.network.next_binding()
        mine = MemoryConnection(self, other, binding, where, dialled=True)
        theirs = MemoryConnection(other, self, binding, self.address.endpoints[0], dialled=False)
        mine.twin, theirs.twin = theirs, mine
        self.up(mine)
        other.up(theirs)
        return mine


class MemoryConnection(Connection):
    """One end of a connection."""

    twin: MemoryConnection

    def __init__(
        self, endpoint: MemoryEndpoint, other: MemoryEndpoint, binding: bytes, remote: HostPort, *, dialled: bool
    ) -> None:
        self.endpoint = endpoint
        self.peer_id = other.peer_id
        self.binding = binding
        self.dialled = dialled
        self.remote = HostPort(other.host, remote.port)
        self.links: dict[int, MemoryLink] = {}
        self._next_link = 0 if dialled else 1
        self._reason: str | None = None
        self._ended = anyio.Event()
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self._queued = anyio.Event()
        self._last_arrival = 0.0

    @property
    def rtt(self) -> float | None:
        return 2 * self.endpoint.network.latency

    async def open(self, protocol: Protocol) -> Link:
        await anyio.lowlevel.checkpoint()
        if self._reason is not None:
            raise LinkClosed(self._reason)
        number = self._next_link
        self._next_link += 2
        link = self.links[number] = MemoryLink(self, number, protocol, dialled=True)
        self.transmit(lambda: self.twin.accept(number, protocol.name))
        return link

    def close(self, reason: str = "") -> None:
        if self._reason is None:
            # The goodbye arrives behind what was sent before.
            reason = reason or "closed"
            self.transmit(lambda: self.twin.fail(reason))
            self._end(reason, flush=True)

    async def wait_closed(self) -> str:
        await self._ended.wait()
        return self._reason or ""

    # --- for the network

    def fail(self, reason: str) -> None:
        """The connection broke, or the other end closed it."""
        if self._reason is None:
            self._end(reason, flush=False)

    def transmit(self, action: Callable[[], None]) -> None:
        """Have ``action`` happen at the other end, after what was sent before."""
        arrival = max(self._last_arrival, anyio.current_time() + self.endpoint.network.delay())
        self._last_arrival = arrival
        self._queue.append((arrival, action))
        self._queued.set()

    def accept(self, number: int, name: str) -> None:
        """The other end opens a link."""
        if self._reason is not None:
            return
        served = self.endpoint.handlers.get(name)
        protocol = served[0] if served else Protocol(name=name, messages={}, max_frame=1)
        link = self.links[number] = MemoryLink(self, number, protocol, dialled=False)
        if served is None:
            self.endpoint.counters["unknown protocol"] += 1
            link.close(f"protocol {name!r} is not served here")
        else:
            self.endpoint.tasks.start_soon(self._handle, link, served[1])

    async def run(self) -> None:
        """Deliver what is queued, as the network lets it."""
        while self._queue or self._reason is None:
            if not self._queue:
                self._queued = anyio.Event()
                await self._queued.wait()
                continue
            await anyio.sleep_until(self._queue[0][0])
            while not self._path_is_open():
                if self._reason is not None:
                    return
                await anyio.sleep(self.endpoint.network.latency + 0.01)
            if self._queue:  # a connection that broke meanwhile has lost it
                _, action = self._queue.popleft()
                if not self.twin.endpoint.crashed and not self.endpoint.crashed:
                    action()

    async def watch_silence(self) -> None:
        """Break after too long a silence."""
        network = self.endpoint.network
        silent_since: float | None = None
        while self._reason is None:
            await anyio.sleep(network.idle_timeout / 8)
            both = network.reaches(self.remote.host, self.endpoint.host) and self._path_is_open()
            if both and not self.twin.endpoint.crashed and not self.endpoint.crashed:
                silent_since = None
                continue
            now = anyio.current_time()
            silent_since = now if silent_since is None else silent_since
            if now - silent_since >= network.idle_timeout * 7 / 8:
                self.fail("idle timeout")

    def _path_is_open(self) -> bool:
        return self.endpoint.network.reaches(self.endpoint.host, self.remote.host)

    async def _handle(self, link: MemoryLink, handler: Handler) -> None:
        try:
            await handler(link)
        except TransportError as error:
            link.close(str(error))
        except Exception as error:
            logger.exception("the handler of %s failed", link.protocol.name)
            link.close(f"internal error: {type(error).__name__}")
        finally:
            link.close("done")

    def _end(self, reason: str, *, flush: bool) -> None:
        self._reason = reason
        if not flush:
            self._queue.clear()
        for link in list(self.links.values()):
            link.end(reason)
        self.links.clear()
        self.endpoint.down(self, reason)
        self._queued.set()
        self._ended.set()


class MemoryLink(Link):
    """One end of a link. The peer may have ``protocol.window`` bytes unread, then senders wait."""

    def __init__(self, connection: MemoryConnection, number: int, protocol: Protocol, *, dialled: bool) -> None:
        self.connection: MemoryConnection = connection
        self.number = number
        self.protocol = protocol
        self.peer_id = connection.peer_id
        self.dialled = dialled
        self._credit = protocol.window
        self._inbox: deque[bytes] = deque()
        self._arrived = anyio.Event()
        self._room = anyio.Event()
        self._reason: str | None = None

    @property
    def closed(self) -> bool:
        return self._reason is not None

    @property
    def close_reason(self) -> str | None:
        return self._reason

    async def send(self, message: object) -> None:
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return self.send_nowait(message)
            except LinkFull:
                if self._room.is_set():
                    self._room = anyio.Event()
                await self._room.wait()

    def send_nowait(self, message: object) -> None:
        if self._reason is not None:
            raise LinkClosed(self._reason)
        frame = self.protocol.encode(message)
        if len(frame) > self._credit:
            raise LinkFull(f"{self.peer_id.short} has {self.protocol.window} bytes of {self.protocol.name} unread")
        self._credit -= len(frame)
        self._on_twin(lambda twin: twin.arrive(frame))

    async def receive(self) -> object:
        if self._inbox or self._reason is not None:
            await anyio.lowlevel.checkpoint()  # before anything is taken: a cancelled receive loses no message
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                if self._arrived.is_set():
                    self._arrived = anyio.Event()
                await self._arrived.wait()

    def receive_nowait(self) -> object:
        if not self._inbox:
            if self._reason is not None:
                raise LinkClosed(self._reason)
            raise anyio.WouldBlock
        frame = self._inbox.popleft()
        self._on_twin(lambda twin: twin.grant(len(frame)))
        try:
            return self.protocol.decode(frame[4:])
        except WireError as error:
            self._inbox.clear()
            self.connection.endpoint.counters["bad frame"] += 1
            self.close(f"bad frame: {error}")
            raise LinkClosed(f"bad frame: {error}") from None

    def close(self, reason: str = "") -> None:
        if self._reason is None:
            reason = reason or "closed"
            self._on_twin(lambda twin: twin.end(reason))
            self.end(reason)

    # --- from the other end

    def arrive(self, frame: bytes) -> None:
        """A frame came."""
        if self._reason is None:
            self._inbox.append(frame)
            if self._sink is not None:
                self._pour()
                if self._then is not None:
                    self._then()
            else:
                self._arrived.set()

    def grant(self, count: int) -> None:
        """The peer has read this much."""
        self._credit += count
        self._room.set()

    def end(self, reason: str) -> None:
        """The link is over."""
        if self._reason is None:
            self._reason = reason
            self.connection.links.pop(self.number, None)
        self._arrived.set()
        self._room.set()

    def _on_twin(self, action: Callable[[MemoryLink], None]) -> None:
        connection, number = self.connection, self.number

        def deliver() -> None:
            twin = connection.twin.links.get(number)
            if twin is not None:
                action(twin)

        connection.transmit(deliver)
