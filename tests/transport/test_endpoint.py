"""The node's socket: dialling, limits, and what a hostile or broken peer may cost."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from tests.transport.support import ECHO, MAIN, PATIENCE, Links, Say, echo, need, until
from transport import (
    BindError,
    Connection,
    DialError,
    Endpoint,
    HostPort,
    LinkClosed,
    PeerAddr,
    QuicConfig,
    QuicTransport,
    SecretKey,
    Unreachable,
    WrongIdentity,
    loop,
    routes,
)
from transport.endpoint import QuicEndpoint
from transport.engine import EngineName
from transport.quic import MAX_EARLY, MAX_LINKS, QuicPeer

pytestmark = pytest.mark.anyio

DEAD = HostPort("192.0.2.1", 9)
"""Takes datagrams and never answers (RFC 5737)."""


def bind(
    config: QuicConfig | None = None, *, listen: HostPort = MAIN, advertise: tuple[HostPort, ...] = ()
) -> AbstractAsyncContextManager[Endpoint]:
    return QuicTransport(config).bind(SecretKey.generate(), listen=listen, advertise=advertise)


async def echoes(connection: Connection) -> bool:
    """Whether the peer serves us."""
    link = await connection.open(ECHO)
    await link.send(Say(number=8))
    said: bool = await link.receive() == Say(number=8)
    link.close()
    return said


def inner(side: Endpoint) -> QuicEndpoint:
    """The endpoint with its inner workings."""
    assert isinstance(side, QuicEndpoint)
    return side


# --- binding and addresses


async def test_a_port_in_use_is_named_with_what_to_try() -> None:
    async with bind() as a:
        with pytest.raises(BindError, match=rf"{a.address.endpoints[0]}.*another port"):
            async with bind(listen=a.address.endpoints[0]):
                pass


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        (HostPort("192.0.2.1", 0), "no such address"),
        (HostPort("no.such.host.invalid", 0), "no.such.host.invalid"),
        (HostPort("x" * 64 + ".invalid", 0), "cannot listen on"),
    ],
)
async def test_what_cannot_be_bound_is_named(listen: HostPort, says: str) -> None:
    with anyio.fail_after(PATIENCE), pytest.raises(BindError, match=says):
        async with bind(listen=listen):
            pass


async def test_a_node_on_all_interfaces_advertises_one_that_can_be_dialled() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind(listen=HostPort("0.0.0.0", 0)) as a, bind(listen=HostPort("0.0.0.0", 0)) as b:
            b.serve(ECHO, echo)
            (where,) = b.address.endpoints
            assert where.host not in ("0.0.0.0", "::")
            assert await echoes(await a.connect(b.address))


@pytest.mark.parametrize(
    "settings",
    [
        {"idle_timeout": 0.0},
        {"keepalive": 9.0},
        {"keepalive": 0.0},
        {"handshake_timeout": 0.0},
        {"datagram_size": 500},
        {"datagram_size": 60_000},
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        QuicConfig(**settings)


# --- dialling


async def test_a_dead_endpoint_does_not_hold_up_the_others() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b, bind() as c:
            b.serve(ECHO, echo)
            wrong, right = c.address.endpoints[0], b.address.endpoints[0]
            began = anyio.current_time()
            connection = await a.connect(PeerAddr(b.peer_id, (DEAD, wrong, right)))
            assert anyio.current_time() - began < QuicConfig().handshake_timeout
            assert connection.remote == right
            assert await echoes(connection)
            await until(lambda: len(inner(a)._peers) == 1)


async def test_one_peer_at_several_endpoints_is_one_connection() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            b.serve(ECHO, echo)
            (where,) = b.address.endpoints
            connection = await a.connect(PeerAddr(b.peer_id, (where, HostPort("localhost", where.port), where)))
            assert await echoes(connection)
            assert a.connections == {b.peer_id: connection}
            assert len(b.connections) == 1


async def test_of_several_problems_the_telling_one_is_raised() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind(QuicConfig(handshake_timeout=3)) as a, bind() as b:
            stranger = SecretKey.generate().peer_id
            with pytest.raises(WrongIdentity):
                await a.connect(PeerAddr(stranger, (DEAD, b.address.endpoints[0])))


async def test_a_dial_ends_when_its_time_is_up_and_leaves_nothing() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a:
            with pytest.raises(Unreachable, match=r"192\.0\.2\.1:9"):
                await a.connect(PeerAddr(SecretKey.generate().peer_id, (DEAD,)), timeout=0.3)
            with anyio.move_on_after(0.1):
                await a.connect(PeerAddr(SecretKey.generate().peer_id, (DEAD,)))
            assert not inner(a)._dials
            await until(lambda: not inner(a)._unproven)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 64 + ".invalid"])
async def test_a_name_that_leads_nowhere_is_unreachable(host: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a:
            with pytest.raises(Unreachable):
                await a.connect(PeerAddr(SecretKey.generate().peer_id, (HostPort(host, 7001),)))


# --- hostile and broken peers


class Rubbish:
    """A certificate that is none."""

    def public_bytes(self, encoding: object) -> bytes:
        return b"rubbish" * 40


async def test_an_acceptor_with_a_rubbish_certificate_costs_the_dial_only() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind(QuicConfig(handshake_timeout=1)) as a, bind() as bad, bind() as good:
            good.serve(ECHO, echo)
            inner(bad)._certificate = Rubbish()  # type: ignore[assignment]
            with pytest.raises(DialError):
                await a.connect(bad.address)
            assert await echoes(await a.connect(good.address))
            assert not a.connections.get(bad.peer_id)


@pytest.mark.parametrize(
    "entrance",
    [
        "close",
        "datagrams_to_send",
        "get_next_available_stream_id",
        "get_timer",
        "next_event",
        "receive_datagram",
        "send_ping",
        "send_stream_data",
    ],
)
async def test_a_failure_of_the_engine_costs_one_connection(entrance: str, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise AssertionError("a hole in the engine")

    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b, bind() as c:
            b.serve(ECHO, echo)
            c.serve(ECHO, echo)
            broken, sound = await a.connect(b.address), await a.connect(c.address)
            assert isinstance(broken, QuicPeer)
            link = await broken.open(ECHO)
            setattr(broken.quic, entrance, fails)
            with pytest.raises(LinkClosed, match="the QUIC engine failed: AssertionError"):
                if entrance == "close":
                    broken.break_off("the QUIC engine failed: AssertionError")
                elif entrance == "send_ping":
                    broken.ping()
                elif entrance == "get_next_available_stream_id":
                    await broken.open(ECHO)
                while True:  # a timer that is near is not asked for with each message
                    link.send_nowait(Say())
                    await link.receive()
            assert a.counters["engine failures"] == 1
            assert await echoes(sound)
            assert await echoes(await a.connect(b.address)), "dialled anew"
    assert "a hole in the engine" in caplog.text


@pytest.mark.parametrize("engine", ["aioquic", "qh3"])
async def test_what_is_written_to_a_peer_that_has_just_closed_does_not_hide_why(engine: EngineName) -> None:
    need(engine)
    with anyio.fail_after(PATIENCE):
        async with bind(QuicConfig(engine=engine)) as a, bind(QuicConfig(engine=engine)) as b:
            events = b.watch()
            closer = await a.connect(b.address)
            closed = (await anext(events)).connection
            assert isinstance(closer, QuicPeer)
            assert isinstance(closed, QuicPeer)
            receive = closed.quic.receive_datagram

            def receive_and_ping(*args: Any, **kwargs: Any) -> None:
                receive(*args, **kwargs)
                closed.ping()  # into the time in which the engine drains, and qh3 raises

            closed.quic.receive_datagram = receive_and_ping
            closer.break_off("that was it")
            assert (await anext(events)).reason == "that was it"
            assert b.counters["engine failures"] == 0


async def test_an_engine_that_fails_where_nothing_listens_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """qh3 does, if the peer had just closed the connection: then the node itself ended."""

    def fails(uid: int) -> None:
        raise AssertionError("a hole in the engine")

    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b, bind() as c:
            b.serve(ECHO, echo)
            c.serve(ECHO, echo)
            await a.connect(b.address)
            await a.connect(c.address)
            broken, sound = inner(a)._peers
            broken.quic.send_ping = fails
            monkeypatch.setattr(routes, "refused_addresses", lambda _: [broken.address])
            inner(a)._note_refusals(anyio.current_time())
            monkeypatch.undo()
            assert await broken.wait_closed() == "the QUIC engine failed: AssertionError"
            assert await echoes(sound)


async def test_a_closed_connection_waits_for_a_silent_peer_only_for_a_moment() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            assert await echoes(connection)
            inner(b)._send_raw = lambda data, address: True  # type: ignore[method-assign]
            connection.close("enough")
            assert await connection.wait_closed() == "enough"
            assert not a.connections
            await until(lambda: a.counters["lingered in vain"] == 1)


async def test_links_are_limited_where_they_are_opened() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            links = Links()
            b.serve(ECHO, links)
            connection = await a.connect(b.address)
            opened = [await connection.open(ECHO) for _ in range(MAX_LINKS)]
            with pytest.raises(LinkClosed, match=f"{MAX_LINKS} links"):
                await connection.open(ECHO)
            await until(lambda: len(links.links) == MAX_LINKS)
            opened[0].close()
            await connection.open(ECHO)
            assert b.connections


async def test_a_peer_that_opens_links_without_end_is_cut_off() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            connection = await a.connect(b.address)
            await until(lambda: a.peer_id in b.connections)
            theirs = b.connections[a.peer_id]
            assert isinstance(connection, QuicPeer)
            assert isinstance(theirs, QuicPeer)
            for number in range(1, 3000):
                connection.write(4 * number, b"\x00")
            await anyio.sleep(0.2)
            assert len(theirs.links) <= 2 * MAX_LINKS + 28


async def test_links_instead_of_a_proof_are_held_and_bounded() -> None:
    with anyio.fail_after(PATIENCE):
        async with bind(QuicConfig(handshake_timeout=1)) as a, bind() as b:

            def floods(peer: QuicPeer) -> None:
                peer.write(1, b"x" * (MAX_EARLY + 1))

            inner(b).on_proven = floods  # type: ignore[method-assign]
            send_proof = QuicPeer._send_proof

            def silent(peer: QuicPeer, role: bytes, remote: Any) -> None:
                if peer.dialled:
                    send_proof(peer, role, remote)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(QuicPeer, "_send_proof", silent)
                with pytest.raises(DialError):
                    await a.connect(b.address)
            assert a.counters["refused: no proof"] == 1


async def test_an_unproven_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PROOF_TIMEOUT", 0.2)
    monkeypatch.setattr(QuicPeer, "_send_proof", lambda *args: None)
    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            with pytest.raises(DialError, match="no proof of identity in time"):
                await a.connect(b.address)
            assert not inner(b)._unproven


async def test_before_the_proof_a_peer_may_send_little() -> None:
    """aioquic reserves memory up to the credit that it grants, for one datagram with a high offset."""
    async with bind() as a:
        configuration = inner(a)._configuration(Any, is_client=False, size=1200)  # type: ignore[arg-type]
        assert configuration.max_data == configuration.max_stream_data == 256 * 1024


async def test_a_path_that_takes_only_smaller_datagrams_gets_them_at_the_next_dial() -> None:
    class Narrow:
        """A socket whose path carries 1200 bytes."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def sendto(self, data: bytes, address: Any) -> int:
            if len(data) > 1200:
                raise OSError(errno.EMSGSIZE, "too long")
            return self._sock.sendto(data, address)

    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            b.serve(ECHO, echo)
            connection = await a.connect(b.address)
            inner(a)._sock = Narrow(inner(a)._sock)  # type: ignore[assignment]
            link = await connection.open(ECHO)
            with pytest.raises(LinkClosed, match="smaller datagrams"):
                await link.send(Say(data=b"x" * 10_000))
                await link.receive()
            link = await (await a.connect(b.address)).open(ECHO)
            await link.send(Say(data=b"x" * 10_000))
            assert len((await link.receive()).data) == 10_000


@pytest.mark.parametrize("seed", range(4))
async def test_a_lossy_reordering_path_only_costs_time(seed: int) -> None:
    """The acceptor opens a link as soon as it is sure, which can overtake its own proof."""
    dice = random.Random(seed)
    late: list[tuple[bytes, Any]] = []

    def worsen(side: QuicEndpoint) -> None:
        send = side._send_raw

        def unreliably(data: bytes, address: Any) -> bool:
            roll = dice.random()
            if roll < 0.15:
                return True
            if roll < 0.4:
                late.append((data, address))
                return True
            sent = send(data, address)
            while late:
                send(*late.pop())
            return sent

        side._send_raw = unreliably  # type: ignore[method-assign]

    async def open_back(b: Endpoint) -> None:
        async for event in b.watch():
            if event.kind == "up":
                assert await echoes(event.connection)
                return

    with anyio.fail_after(PATIENCE):
        async with bind() as a, bind() as b:
            a.serve(ECHO, echo)
            b.serve(ECHO, echo)
            worsen(inner(b))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(open_back, b)
                connection = await a.connect(b.address, timeout=20)
                link = await connection.open(ECHO)
                for number in range(20):
                    await link.send(Say(number=number, data=b"x" * 2000))
                    assert (await link.receive()).number == number


# --- routes


def test_datagrams_follow_the_route() -> None:
    assert routes.datagram_size(("127.0.0.1", 9), socket.AF_INET) == routes.LARGEST
    assert routes.SMALLEST <= routes.datagram_size(("192.0.2.1", 9), socket.AF_INET) <= routes.LARGEST
    assert routes.datagram_size(("not an address", 9), socket.AF_INET) == routes.SMALLEST


def test_a_bound_address_is_advertised_as_it_is() -> None:
    where = HostPort("127.0.0.1", 7001)
    assert routes.advertised(where, socket.AF_INET) == (where,)
