"""Attacks that want to use up memory, places, time or somebody else's line, over real sockets."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from tests.attacks.attacker import ALPN, insider, node, raw, serves_others
from tests.transport.support import ECHO, PATIENCE, Say, until
from transport import DialError, HostPort, PeerAddr, QuicConfig, SecretKey, dialler, door, loop
from transport.door import (
    MAX_PER_SOURCE,
    MAX_UNPROVEN,
    RETRY_ABOVE,
    RETRY_ABOVE_PER_SOURCE,
    Door,
    source_of,
)
from transport.endpoint import QuicEndpoint
from transport.engine import SERVER_NAME

pytestmark = pytest.mark.anyio

ELSEWHERE = "127.0.0.2"
"""Another address of this machine's, for the honest."""


@contextmanager
def udp(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine's loopback has no {host}")
        sock.setblocking(False)
        yield sock


@pytest.fixture
def elsewhere() -> HostPort:
    """Where the honest listen; skipped where loopback is one address only."""
    with udp(ELSEWHERE):
        return HostPort(ELSEWHERE, 0)


def hellos() -> Iterator[bytes]:
    """First datagrams, each of a handshake of its own."""
    while True:
        quic = QuicConnection(configuration=QuicConfiguration(alpn_protocols=[ALPN], server_name=SERVER_NAME))
        quic.connect(("127.0.0.1", 1), now=0.0)
        yield quic.datagrams_to_send(now=0.0)[0][0]


def drain(sock: socket.socket) -> int:
    """Bytes that have come."""
    total = 0
    while True:
        try:
            total += len(sock.recv(65536))
        except BlockingIOError:
            return total


async def test_a_flood_of_half_open_handshakes_is_answered_with_retry_and_at_most_threefold(
    elsewhere: HostPort,
) -> None:
    """Bytes are counted on the wire. The flooder's address counts as forged: it never answers."""
    flood = 400
    with anyio.fail_after(PATIENCE):
        async with node() as b:
            where = (b.address.endpoints[0].host, b.address.endpoints[0].port)
            with udp() as sock:
                sent = received = 0
                for number, hello in enumerate(itertools.islice(hellos(), flood)):
                    sent += sock.sendto(hello, where)
                    if number % 20 == 0:
                        await anyio.sleep(0.002)
                        received += drain(sock)
                await until(lambda: b.counters["accepted"] + b.counters["retries"] == flood)
                assert b.counters["accepted"] == RETRY_ABOVE_PER_SOURCE
                assert b.counters["retries"] == flood - RETRY_ABOVE_PER_SOURCE
                assert await serves_others(b, listen=elsewhere)
                await anyio.sleep(1)  # what the node repeats to the silent ones counts, too
                received += drain(sock)
                assert 0 < received <= 3 * sent
                # One connection's worth: eight that were accepted get three times their datagram at most, a retry is small.
                assert received <= 3 * 1200 * RETRY_ABOVE_PER_SOURCE + 250 * flood


async def test_an_amplifier_is_not_to_be_had_by_one_handshake_either() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b:
            with udp() as sock:
                sent = sock.sendto(next(hellos()), (b.address.endpoints[0].host, b.address.endpoints[0].port))
                await until(lambda: b.counters["accepted"] == 1)
                await anyio.sleep(2)
                assert 0 < drain(sock) <= 3 * sent
            assert await serves_others(b)


async def test_forged_source_addresses_together_get_little_room(elsewhere: HostPort) -> None:
    """Each from another address, so that no bound for a single one applies."""
    with anyio.fail_after(PATIENCE):
        async with node() as b, AsyncExitStack() as stack:
            where = (b.address.endpoints[0].host, b.address.endpoints[0].port)
            makers = hellos()
            for number in range(60):
                stack.enter_context(udp(f"127.0.1.{number + 1}")).sendto(next(makers), where)
                await anyio.sleep(0.001)
            await until(lambda: b.counters["accepted"] + b.counters["retries"] == 60)
            assert b.counters["accepted"] == RETRY_ABOVE
            assert await serves_others(b, listen=elsewhere)


async def test_unproven_connections_from_one_address_leave_room_for_others(
    elsewhere: HostPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real handshakes, with token and all, by one who proves nothing. The bound is 64; here 16, to be there soon."""
    bound = RETRY_ABOVE_PER_SOURCE + 8
    monkeypatch.setattr(door, "MAX_UNPROVEN_PER_SOURCE", bound)
    monkeypatch.setattr(loop, "PROOF_TIMEOUT", 60)
    with anyio.fail_after(PATIENCE):
        async with node() as b, AsyncExitStack() as stack:
            crowd = []
            for _ in range(bound + 10):
                evil = await stack.enter_async_context(raw())
                evil.dial(b.address.endpoints[0])
                crowd.append(evil)
                await anyio.lowlevel.checkpoint()
            await until(lambda: b.counters["refused: too many connections from one address"] >= 10)
            assert b._door.unproven == len(b._unproven) == bound
            assert b.counters["retries"] > 0
            assert await serves_others(b, listen=elsewhere)


async def test_ten_thousand_connections_from_one_address_end_at_its_share(
    elsewhere: HostPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many identities as wanted cost nothing, so an address has a share whatever it proves.

    The share is made smaller here; that it is what stops them is the same for 1024 of 10,000.
    """
    monkeypatch.setattr(door, "MAX_PER_SOURCE", 24)
    with anyio.fail_after(PATIENCE):
        async with node() as b, AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(insider(b)) for _ in range(24)]
            late = [await stack.enter_async_context(raw()) for _ in range(6)]
            for evil in late:
                evil.dial(b.address.endpoints[0])
            await until(lambda: b.counters["refused: too many connections from one address"] >= 6)
            assert len(b.connections) == len(crowd)
            assert await serves_others(b, listen=elsewhere)
            stream = crowd[0].open(ECHO)  # those that stand are served, whoever they are
            crowd[0].send(stream, ECHO.encode(Say(number=1)))
            await until(lambda: bool(crowd[0].received[stream]))


def test_the_door_stops_ten_thousand_from_one_address_and_lets_others_in() -> None:
    doorkeeper, inside = Door(), 0
    for _ in range(10_000):
        if doorkeeper.answer("evil", connections=inside, validated=True) == "accept":
            doorkeeper.enter("evil")
            doorkeeper.prove("evil")
            inside += 1
    assert inside == MAX_PER_SOURCE
    for number in range(1000):
        assert doorkeeper.answer(f"honest {number}", connections=inside, validated=False) == "accept"
    for _ in range(inside):
        doorkeeper.leave("evil")
    assert doorkeeper.sources == doorkeeper.unproven == 0


def test_a_thousand_addresses_that_prove_nothing_end_at_the_bound_for_all() -> None:
    doorkeeper = Door()
    for number in range(1000):
        if doorkeeper.answer(f"evil {number}", connections=doorkeeper.unproven, validated=True) == "accept":
            doorkeeper.enter(f"evil {number}")
    assert doorkeeper.unproven == MAX_UNPROVEN


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("no address", "no address", True),
    ],
)
def test_what_counts_as_one_source(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same


async def test_a_connection_that_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK", 0.1)
    with anyio.fail_after(PATIENCE):
        async with node(QuicConfig(unused_timeout=1)) as b, insider(b) as idle, insider(b) as busy:
            stream = busy.open(ECHO)
            assert "nobody has used" in (await idle.end())[0]
            assert b.counters["unused connections"] == 1
            busy.send(stream, ECHO.encode(Say(number=1)))
            await until(lambda: bool(busy.received[stream]))
            assert await serves_others(b)


async def test_links_without_end_break_the_connection() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            attackers: Any = evil.quic
            attackers._remote_max_streams_bidi = 10**6  # its engine would keep to what B allows
            for number in range(1, 300):
                if evil.ended:
                    break
                evil.send(4 * number, b"\0")
                await anyio.lowlevel.checkpoint()
            assert (await evil.end())[0] in ("too many links", "Too many streams open")
            await until(lambda: not b.connections)
            assert await serves_others(b)


async def test_unidirectional_streams_break_the_connection() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            evil.send(2, b"hello")
            assert "unidirectional" in (await evil.end())[0]
            assert await serves_others(b)


async def test_a_peer_that_overruns_its_window_is_cut_off() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            unread = anyio.Event()
            b.serve(ECHO, lambda link: unread.wait())
            stream = evil.open(ECHO)
            for _ in range(8):
                evil.send(stream, ECHO.encode(Say(data=bytes(50_000))))
            await until(lambda: stream in evil.finished)
            assert "more was sent than the window allows" in evil.close_reason(stream)
            assert b.counters["bad frame"] == 1
            unread.set()


async def test_many_dials_to_one_place_take_turns() -> None:
    """Whoever has this node believe that a hundred peers live at one address aims it at nobody."""
    with anyio.fail_after(PATIENCE), udp() as victim:
        async with node() as a:
            assert isinstance(a, QuicEndpoint)
            where = (HostPort(*victim.getsockname()),)

            async def dial() -> None:
                with pytest.raises(DialError):
                    await a.connect(PeerAddr(SecretKey.generate().peer_id, where), timeout=1.5)

            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(dial)
            assert not a._places
            assert drain(victim) > 0
            assert a.counters["datagrams out"] < 10 * dialler.DIALS_PER_PLACE
            assert await serves_others(a)
