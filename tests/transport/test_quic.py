"""Attacks over real sockets: each ends in a closed link or silence, and the node goes on serving others."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.transport.chat import CHAT, Say, bind, echo, pair
from transport import Connection, DialError, Endpoint, HostPort, LinkClosed, QuicConfig, QuicTransport, SecretKey
from transport.endpoint import QuicEndpoint
from transport.engine import SERVER_NAME
from transport.quic import QuicPeer
from transport.quic_link import QuicLink

pytestmark = pytest.mark.anyio


def silence(data: bytes, address: object) -> bool:
    """Stands in for a socket: what is sent arrives nowhere."""
    return True


async def says_back(connection: Connection) -> bool:
    with anyio.fail_after(10):
        link = await connection.open(CHAT)
        await link.send(Say(text="hello"))
        said: bool = await link.receive() == Say(text="hello")
        link.close()
    return said


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack(">I", 4_000_000_000) + b"x" * 100, "a frame of 4000000000 bytes; chat/1 allows 20000"),
        (struct.pack(">I", 20_001) + b"x", "a frame of 20001 bytes"),
        (struct.pack(">I", 3) + b"\x92\x09\x01", "has no message number 9"),
        (struct.pack(">I", 3) + b"\x92\x01\x05", "Say.text: expected text, not int"),
        (struct.pack(">I", 1) + b"\xc1", "not MessagePack as expected"),
        (struct.pack(">I", 4) + b"\x93\x00\x01\x05", "a link's own frame that makes no sense"),
        (struct.pack(">I", 900) + b"\x91" * 900, "bad frame"),
    ],
    ids=["4 GiB", "too long", "unknown type", "wrongly typed", "garbage", "credit out of nothing", "deep"],
)
async def test_a_bad_frame_closes_its_link_with_a_reason_and_every_other_goes_on(data: bytes, says: str) -> None:
    async with pair() as (one, other):
        connection = await one.connect(other.address)
        assert isinstance(connection, QuicPeer)
        good = await connection.open(CHAT)
        bad = await connection.open(CHAT)
        assert isinstance(bad, QuicLink)
        connection.write(bad.stream, data)
        with anyio.fail_after(10), pytest.raises(LinkClosed) as caught:
            await bad.receive()
        assert says in caught.value.reason
        assert other.counters["bad frame"] == 1
        await good.send(Say(text="still here"))
        assert await good.receive() == Say(text="still here")


async def test_a_truncated_frame_closes_its_link() -> None:
    async with pair() as (one, other):
        connection = await one.connect(other.address)
        assert isinstance(connection, QuicPeer)
        bad = await connection.open(CHAT)
        assert isinstance(bad, QuicLink)
        connection.write(bad.stream, struct.pack(">I", 100) + b"half", fin=True)
        bad._fin_sent = True
        with anyio.fail_after(10), pytest.raises(LinkClosed, match="the last frame is truncated"):
            await bad.receive()
        assert await says_back(connection)


async def test_a_link_that_names_no_protocol_is_closed() -> None:
    async with pair() as (one, other):
        connection = await one.connect(other.address)
        assert isinstance(connection, QuicPeer)
        stream = connection.quic.get_next_available_stream_id()
        connection.write(stream, CHAT.encode(Say(text="no name first")))
        while other.counters["bad frame"] == 0:
            await anyio.sleep(0.01)
        assert await says_back(connection)


async def test_a_peer_that_overruns_its_window_is_cut_off() -> None:
    async with bind() as one, bind() as other:
        unread = anyio.Event()

        async def deaf(link: object) -> None:
            await unread.wait()

        other.serve(CHAT, deaf)
        connection = await one.connect(other.address)
        assert isinstance(connection, QuicPeer)
        link = await connection.open(CHAT)
        assert isinstance(link, QuicLink)
        frame = CHAT.encode(Say(text="x" * 10_000))
        for _ in range(8):
            connection.write(link.stream, frame)
        with anyio.fail_after(10), pytest.raises(LinkClosed, match="more was sent than the window allows"):
            await link.receive()


async def test_nothing_is_served_before_the_proof() -> None:
    async with bind() as one, bind() as other:
        other.serve(CHAT, echo)
        assert isinstance(one, QuicEndpoint)

        async def opens_first() -> None:
            with pytest.raises(DialError):
                await one.connect(other.address)

        original = QuicPeer._send_proof

        def no_proof(self: QuicPeer, role: bytes, remote: object) -> None:
            self.write(4, b"\x00\x00\x00\x09\x93\x00\x00\xa6chat/1")

        QuicPeer._send_proof = no_proof  # type: ignore[method-assign]
        try:
            await opens_first()
        finally:
            QuicPeer._send_proof = original  # type: ignore[method-assign]
        assert other.counters["refused: no proof"] == 1
        assert other.connections == {}
        assert await says_back(await one.connect(other.address))


async def test_a_forged_proof_is_refused() -> None:
    async with bind() as one, bind() as other:
        other.serve(CHAT, echo)
        assert isinstance(one, QuicEndpoint)
        honest = one.key
        one.key = _Pretender(SecretKey.generate(), honest)  # type: ignore[assignment]
        from transport import ProofFailed

        with pytest.raises(ProofFailed, match="the identity proof does not hold"):
            await one.connect(other.address)
        assert other.connections == {}
        one.key = honest
        assert await says_back(await one.connect(other.address))


class _Pretender:
    """Says it is one peer and signs with another's key."""

    def __init__(self, signer: SecretKey, name: SecretKey) -> None:
        self.peer_id = name.peer_id
        self.sign = signer.sign


async def test_garbage_datagrams_change_nothing() -> None:
    async with pair() as (one, other):
        connection = await one.connect(other.address)
        where = (other.address.endpoints[0].host, other.address.endpoints[0].port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for size in (0, 1, 7, 20, 100, 1199, 1200, 1500, 9000):
                for first in (b"", b"\xc3", b"\xff", b"\x40", b"\xc0\x00\x00\x00\x01", b"\xc0\xba\xba\xba\xba"):
                    sock.sendto((first + os.urandom(size))[: max(size, 1)], where)
        assert await says_back(connection)
        assert await says_back(await one.connect(other.address))


async def test_a_flood_of_half_open_connections_is_answered_with_retry_and_bounded() -> None:
    async with pair() as (one, other):
        assert isinstance(other, QuicEndpoint)
        hello = await _client_hello(other)
        where = (other.address.endpoints[0].host, other.address.endpoints[0].port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for number in range(500):
                sock.sendto(hello(number), where)
                if number % 50 == 0:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.2)
        assert len(other._unproven) <= 40
        assert other.counters["retries"] > 0
        with anyio.fail_after(20):
            assert await says_back(await one.connect(other.address)), "an honest peer gets through by its token"


async def _client_hello(target: QuicEndpoint) -> Callable[[int], bytes]:
    """A maker of first datagrams, each of a connection of its own."""
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection

    def make(number: int) -> bytes:
        quic = QuicConnection(configuration=QuicConfiguration(alpn_protocols=["p2praft/1"], server_name=SERVER_NAME))
        quic.connect(("127.0.0.1", 1), now=0.0)
        return quic.datagrams_to_send(now=0.0)[0][0]

    return make


async def test_a_peer_that_falls_silent_is_noticed() -> None:
    config = QuicConfig(idle_timeout=1.0, keepalive=0.2)
    async with bind(config=config) as one, bind(config=config) as other:
        connection = await one.connect(other.address)
        assert isinstance(other, QuicEndpoint)
        other._send_raw = silence  # type: ignore[method-assign]  # as if its cable were pulled
        with anyio.fail_after(10):
            assert await connection.wait_closed() == "idle timeout"
        assert one.connections == {}


async def test_a_peer_whose_process_is_gone_is_noticed_by_the_hosts_refusal() -> None:
    async with bind() as one:
        async with bind() as other:
            connection = await one.connect(other.address)
            assert isinstance(other, QuicEndpoint)
            other._send_raw = silence  # type: ignore[method-assign]  # it dies without a word
        assert isinstance(connection, QuicPeer)
        with anyio.fail_after(QuicConfig().idle_timeout - 1):
            connection.ping()
            assert await connection.wait_closed() == "nothing listens there any more"


async def test_a_quiet_connection_is_kept_and_its_round_trip_measured() -> None:
    config = QuicConfig(idle_timeout=0.8, keepalive=0.2)
    async with bind(config=config) as one, bind(config=config) as other:
        other.serve(CHAT, echo)
        connection = await one.connect(other.address)
        await anyio.sleep(2)
        assert await says_back(connection)
        assert connection.rtt is not None
        assert 0 < connection.rtt < 1


async def test_a_restarted_peer_replaces_its_own_past() -> None:
    key = SecretKey.generate()
    async with bind() as one:
        one.serve(CHAT, echo)
        async with bind(key) as other:
            await other.connect(one.address)
            assert isinstance(other, QuicEndpoint)
            other._send_raw = silence  # type: ignore[method-assign]  # it dies without a word
        async with bind(key) as again:
            connection = await again.connect(one.address)
            assert await says_back(connection)
            assert one.connections[key.peer_id].binding == connection.binding


async def test_stopping_is_bounded_with_many_connections_open() -> None:
    async def scenario(stop: Callable[[], Awaitable[None]]) -> None:
        await stop()

    async with bind() as hub:
        hub.serve(CHAT, echo)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(_visit, hub)
    await scenario(anyio.lowlevel.checkpoint)


async def _visit(hub: Endpoint) -> None:
    async with QuicTransport().bind(SecretKey.generate(), listen=HostPort("127.0.0.1", 0)) as one:
        assert await says_back(await one.connect(hub.address))


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        async with QuicTransport().bind(SecretKey.generate(), listen=HostPort("::1", 0)) as one:
            async with QuicTransport().bind(SecretKey.generate(), listen=HostPort("::1", 0)) as other:
                other.serve(CHAT, echo)
                assert str(other.address.endpoints[0]).startswith("[::1]:")
                assert await says_back(await one.connect(other.address))
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
