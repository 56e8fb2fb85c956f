"""Attacks on versions, frames and patience, over real sockets."""

from __future__ import annotations

import socket
import struct
from typing import Any

import anyio
import pytest
from aioquic.quic.packet import encode_quic_version_negotiation

from discovery import Discovery
from discovery.messages import DISCOVERY
from p2praft.groups import bond
from p2praft.groups.bond import BOND
from tests.attacks.attacker import ALPN, insider, node, raw, serves_others
from tests.transport.support import ECHO, PATIENCE, Say, until
from transport import DialError, PeerAddr, Protocol, VersionMismatch, handshake, loop, quic_link
from transport.handshake import PROOF
from transport.quic import CODE_NO_ALPN, CODE_PROTOCOL, CODE_REFUSED

pytestmark = pytest.mark.anyio


# --- versions


@pytest.mark.parametrize("alpn", [["h3"], ["p2praft/2"], ["p2praft/0"], []], ids=["wrong", "future", "past", "absent"])
async def test_a_peer_of_another_protocol_is_refused_in_the_handshake(alpn: list[str]) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw(alpn=alpn) as evil:
            evil.dial(b.address.endpoints[0])
            _, code = await evil.end()
            assert code == CODE_NO_ALPN
            await until(lambda: b.counters["refused: no common version"] == 1)
            assert not b.connections
            assert await serves_others(b)


async def test_a_dialled_peer_of_another_protocol_is_told_apart() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as a, raw(alpn=["p2praft/0"]) as evil:
            with pytest.raises(VersionMismatch, match=ALPN):
                await a.connect(PeerAddr(evil.key.peer_id, (evil.where,)))
            assert await serves_others(a)


async def test_of_several_protocols_that_a_peer_offers_only_ours_is_taken() -> None:
    """Nobody is talked down: there is no older version to fall back to, and TLS covers the offer."""
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw(alpn=["p2praft/0", ALPN]) as evil:
            evil.dial(b.address.endpoints[0])
            await evil.prove(b.peer_id)
            assert (await evil.proven()).version == handshake.VERSION


@pytest.mark.parametrize("version", [0, 2, 2**31])
async def test_a_proof_of_another_version_is_refused_even_if_it_is_signed_so(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw() as evil:
            evil.dial(b.address.endpoints[0])
            await evil.connected()
            with monkeypatch.context() as patch:
                patch.setattr(handshake, "VERSION", version)
                data = PROOF.encode(evil.proof(b.peer_id))
            evil.send(0, data)
            assert await evil.end() == (f"identity proof of version {version}, this node knows 1", CODE_REFUSED)
            assert b.counters["refused: proof of another version"] == 1
            assert await serves_others(b)


@pytest.mark.parametrize("versions", [[1], [0x1A2A3A4A], []], ids=["ours", "unknown", "none"])
async def test_forged_version_negotiation_downgrades_nobody(versions: list[int]) -> None:
    """Somebody on the path answers a dial with "I speak only these": the dial may fail, it never gets weaker."""
    with anyio.fail_after(PATIENCE):
        async with node() as a, node() as b:
            receive = a._peer_for
            forged = 0

            def inject(data: bytes, address: Any, now: float) -> Any:
                nonlocal forged
                for peer in list(a._peers):
                    if not peer.proven and forged < 3:
                        forged += 1
                        packet = encode_quic_version_negotiation(
                            source_cid=b"\x07" * 8, destination_cid=peer.quic.host_cid, supported_versions=versions
                        )
                        peer.quic.receive_datagram(packet, address, now=now)
                return receive(data, address, now)

            a._peer_for = inject  # type: ignore[method-assign]
            try:
                connection = await a.connect(b.address, timeout=2)
                assert connection.peer_id == b.peer_id
            except DialError:
                assert not a.connections
            assert forged
            a._peer_for = receive  # type: ignore[method-assign]
            assert await serves_others(a)
            link = await (await a.connect(b.address)).open(ECHO)
            await link.send(Say(number=1))
            assert await link.receive() == Say(number=1)


async def test_an_unknown_quic_version_is_answered_with_less_than_was_sent() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b:
            where = b.address.endpoints[0]
            packet = b"\xc0" + b"\xba\xba\xba\xba" + b"\x08" + b"d" * 8 + b"\x08" + b"s" * 8
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(packet.ljust(1200, b"\0"), (where.host, where.port))
                sock.sendto(packet.ljust(600, b"\0"), (where.host, where.port))  # a short one is not answered at all
                await until(lambda: b.counters["refused: unknown QUIC version"] == 2)
                await anyio.wait_readable(sock)
                assert len(sock.recv(65536)) < 1200
                with pytest.raises(BlockingIOError):
                    sock.recv(65536)
            assert await serves_others(b)


@pytest.mark.parametrize("name", ["test echo/2", "", "x" * 900, "☠\x00"], ids=["future", "empty", "long", "odd"])
async def test_a_link_of_a_protocol_that_is_not_served_is_closed(name: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            stream = evil.open(name)
            await until(lambda: stream in evil.finished)
            assert "is not served here" in evil.close_reason(stream)
            assert b.counters["unknown protocol"] == 1
            assert await serves_others(b)


async def test_a_link_that_names_no_protocol_is_closed() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            evil.send(4, ECHO.encode(Say(number=1)))
            await until(lambda: 4 in evil.finished)
            assert "opens with its protocol's name" in evil.close_reason(4)
            assert b.counters["bad frame"] == 1
            assert await serves_others(b)


# --- frames


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


FRAMES = {
    "4 GiB": (struct.pack(">I", 2**32 - 1) + b"x" * 1000, "a frame of 4294967295 bytes"),
    "deep nesting": (frame(b"\x91" * 60_000), "bad frame"),
    "deep maps": (frame(b"\x92\x01" + b"\x81\x01" * 20_000), "bad frame"),
    "a list of 4 billion": (frame(b"\xdd\xff\xff\xff\xff"), "bad frame"),
    "bytes of 4 GiB": (frame(b"\x93\x01\x00\xc6\xff\xff\xff\xff"), "bad frame"),
    "an extension type": (frame(b"\xd4\x01\x00"), "bad frame"),
    "empty": (frame(b""), "bad frame"),
    "two values": (frame(ECHO.encode(Say())[4:] * 2), "bad frame"),
    "a huge number": (frame(b"\x93\x01\xcf" + b"\xff" * 8 + b"\xc4\x00"), "bad frame"),
    "credit out of nothing": (frame(b"\x93\x00\x01\xce\x7f\xff\xff\xff"), "makes no sense"),
    "negative credit": (frame(b"\x93\x00\x01\xd0\x80"), "makes no sense"),
    "a second opening": (frame(b"\x93\x00\x00\xa6echo/1"), "makes no sense"),
}


@pytest.mark.parametrize("attack", FRAMES)
async def test_a_hostile_frame_closes_its_link_and_no_other(attack: str) -> None:
    data, says = FRAMES[attack]
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            good, bad = evil.open(ECHO), evil.open(ECHO)
            evil.send(bad, data)
            await until(lambda: bad in evil.finished)
            assert says in evil.close_reason(bad)
            assert b.counters["bad frame"] == 1
            evil.send(good, ECHO.encode(Say(number=9)))
            await until(lambda: bytes(evil.received[good]) == ECHO.encode(Say(number=9)))
            assert await serves_others(b)


@pytest.mark.parametrize("attack", ["4 GiB", "deep nesting", "empty", "an extension type"])
async def test_a_hostile_frame_instead_of_a_proof_closes_the_connection(attack: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw() as evil:
            evil.dial(b.address.endpoints[0])
            await evil.connected()
            evil.send(0, FRAMES[attack][0])
            reason, code = await evil.end()
            assert reason.startswith("bad frame")
            assert code == CODE_PROTOCOL
            assert b.counters["refused: bad frame"] == 1
            assert await serves_others(b)


async def test_a_goodbye_that_promises_more_than_comes_ends_nothing_but_the_liar() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            evil.send(0, PROOF.encode(handshake.Goodbye(code=0, reason="…", sent=2**62)))
            evil.send(0, PROOF.encode(handshake.Goodbye(code=0, reason="…", sent=0)))
            assert "at last one goodbye" in (await evil.end())[0]
            assert await serves_others(b)


# --- patience: a byte at a time


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeouts as they are, but shorter."""
    monkeypatch.setattr(loop, "PROOF_TIMEOUT", 0.4)
    monkeypatch.setattr(loop, "LOOK", 0.1)
    monkeypatch.setattr(quic_link, "FRAME_GRACE", 0.4)
    monkeypatch.setattr("discovery.service.HELLO_TIMEOUT", 0.4)
    monkeypatch.setattr(bond, "HANDSHAKE_TIMEOUT", 0.4)


@pytest.mark.usefixtures("impatient")
async def test_a_slow_proof_of_identity_is_not_waited_for() -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, raw() as evil:
            evil.dial(b.address.endpoints[0])
            await evil.connected()
            data = PROOF.encode(evil.proof(b.peer_id))
            for byte in data:
                if evil.ended:
                    break
                evil.send(0, bytes([byte]))
                await anyio.sleep(0.03)
            assert await evil.end() == ("no proof of identity in time", CODE_REFUSED)
            assert b.counters["refused: no proof"] == 1
            assert await serves_others(b)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", ["the opening", "nothing", "a frame", "a longest frame"])
async def test_a_slow_sender_on_a_link_is_not_waited_for(part: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, insider(b) as evil:
            good = evil.open(ECHO)
            if part in ("the opening", "nothing"):
                stream, data = 8, b"\0" if part == "nothing" else quic_link.control(quic_link.OPEN, "x" * 200)
            else:
                stream, data = evil.open(ECHO), ECHO.encode(Say(data=bytes(59_000 if "longest" in part else 200)))
            for byte in data:
                if stream in evil.finished:
                    break
                evil.send(stream, bytes([byte]))
                await anyio.sleep(0.02)
            await until(lambda: stream in evil.finished)
            assert "too slowly" in evil.close_reason(stream)
            assert b.counters["slow senders"] == 1
            evil.send(good, ECHO.encode(Say(number=9)))
            await until(lambda: bytes(evil.received[good]) == ECHO.encode(Say(number=9)))
            assert await serves_others(b)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("protocol", [DISCOVERY, BOND], ids=["discovery", "bond"])
async def test_who_opens_a_conversation_and_says_nothing_is_left(protocol: Protocol) -> None:
    with anyio.fail_after(PATIENCE):
        async with node() as b, Discovery(b, b.key, network="factory"):

            async def accept(link: Any) -> None:
                await bond.accept_bond(link, b.peer_id, {})

            b.serve(BOND, accept)
            async with insider(b) as evil:
                stream = evil.open(protocol)
                for _ in range(100):
                    if stream in evil.finished:
                        break
                    evil.send(stream, b"\0")
                    await anyio.sleep(0.03)
                await until(lambda: stream in evil.finished)
                assert evil.close_reason(stream)
                assert await serves_others(b)
