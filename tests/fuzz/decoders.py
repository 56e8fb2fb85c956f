"""Targets: whatever turns bytes or text from outside into values."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any, cast

import anyio
import msgpack

from discovery import NetworkId
from discovery.messages import DISCOVERY
from discovery.state import KnownPeers
from p2praft.groups.bond import BOND
from p2praft.groups.key import GroupId
from tests.fuzz.mutate import mutate, spoil
from tests.fuzz.source import Source
from tests.fuzz.values import Maker
from transport import AddressError, HostPort, LinkClosed, PeerAddr, PeerId, Protocol, WireError
from transport.handshake import ACCEPTOR, DIALLER, PROOF, Proof, check_proof
from transport.quic_link import PROBE, QuicLink

PROTOCOLS = (PROOF, DISCOVERY, BOND)
PEER = PeerId(b"p" * 32)


def decode(protocol: Protocol, payload: bytes) -> Any:
    """Bytes are a message, which then survives the round trip, or a WireError."""
    try:
        message = protocol.decode(payload)
    except WireError:
        return None
    frame = protocol.encode(message)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert protocol.decode(frame[4:]) == message
    return message


def identity(data: bytes) -> None:
    """A proof of identity, decoded and judged."""
    proof = decode(PROOF, data)
    if isinstance(proof, Proof):
        for role in (DIALLER, ACCEPTOR):
            # Nobody signed for this binding, so nothing may hold.
            assert check_proof(proof, role=role, binding=b"\xa5" * 32, me=proof.wanted)


def discovery(data: bytes) -> None:
    """What neighbours say; signatures of what they pass on are looked at."""
    message = decode(DISCOVERY, data)
    for signed in getattr(message, "entries", ()):
        signed.holds()
    if hasattr(message, "entry"):
        message.entry.holds()


def bond(data: bytes) -> None:
    """What members say."""
    decode(BOND, data)


def values(data: bytes) -> None:
    """Well-typed messages round trip; with one part wrong they decode to another message, or are refused."""
    source = Source(data)
    protocol = source.pick(PROTOCOLS)
    message = Maker().message(source.pick(list(protocol.messages.values())), source)
    payload = protocol.encode(message)[4:]
    assert protocol.decode(payload) == message
    decode(protocol, msgpack.packb(mutate(msgpack.unpackb(payload), source)))
    decode(protocol, spoil(payload, source))


class _Connection:
    """What a link sees of its connection."""

    peer_id = PEER

    def __init__(self) -> None:
        self.endpoint = self
        self.counters: Counter[str] = Counter()
        self.written = 0

    def on_link(self, link: QuicLink, name: str) -> None:
        if name == DISCOVERY.name:
            link.adopt(DISCOVERY)
        else:
            link.close("not served")

    def write(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self.written += len(data)

    def forget(self, link: QuicLink, *, fin_received: bool) -> None:
        pass


def _stream(parts: list[bytes], *, dialled: bool) -> tuple[list[Any], str | None]:
    """What comes out of a link into which bytes go: messages, and why it ended."""
    connection = _Connection()
    protocol = DISCOVERY if dialled else PROBE
    link = QuicLink(cast(Any, connection), 4, protocol, dialled=dialled)
    for at, part in enumerate(parts):
        link.take(part, fin=at == len(parts) - 1)
    messages = []
    with contextlib.suppress(LinkClosed, anyio.WouldBlock):
        while True:
            messages.append(link.receive_nowait())
    assert link.closed
    assert connection.written <= 4096, "what is answered is bounded"
    return messages, link.close_reason


def link(data: bytes) -> None:
    """A link's stream, control frames and all: the same however it is cut."""
    source = Source(data)
    dialled = bool(source.byte() & 1)
    cut = 1 + source.byte()
    stream = source.rest()
    whole = _stream([stream], dialled=dialled)
    assert whole == _stream([stream[at : at + cut] for at in range(0, len(stream), cut)] or [b""], dialled=dialled)


def addresses(data: bytes) -> None:
    """Text that people paste: an address that reads back the same, or an AddressError."""
    text = data.decode(errors="surrogateescape")
    for kind in (HostPort, PeerAddr, PeerId, NetworkId, GroupId):
        try:
            parsed = kind.parse(text)
        except AddressError:
            continue
        assert kind.parse(str(parsed)) == parsed


class _File:
    """A file that holds some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def exists(self) -> bool:
        return True

    def read_bytes(self) -> bytes:
        return self._data

    def __str__(self) -> str:
        return "known-peers"


def known_peers(data: bytes) -> None:
    """The file of known peers: a node starts with whatever it finds there."""
    known = KnownPeers(cast(Path, _File(data)))
    assert known.incarnation >= 0
