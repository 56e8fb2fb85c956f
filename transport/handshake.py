"""Proof of identity, bound to the TLS session: pure.

TLS here only makes a private channel; who is at its other end is proven inside it. Both ends see the session's traffic
secrets through the documented key log hook (``SSLKEYLOGFILE`` format), and HKDF turns them into a *channel binding*:
the same at both ends, different on every connection, unknown to anybody in between. Each side signs

    (domain, version, role, channel binding, own PeerId, remote PeerId)

so a proof cannot be replayed on another connection, reflected to its maker, or relayed by a man in the middle.

The proofs travel on stream 0. Later it carries probes of the path, and at last a goodbye: see :class:`Probe`, :class:`Goodbye`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Annotated

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transport.identity import PeerId, SecretKey
from transport.wire import Protocol, Range, Size

VERSION = 1
ALPN = "p2praft/1"
WIRE_VERSIONS = (ALPN,)
"""Versions of the wire that this release speaks, newest first, as TLS application protocols (RFC 7301): the dialler offers
all, the acceptor takes its newest among them. One version stands for everything on the connection: proofs, links, messages.
Nobody in between can talk two nodes into an older one: what was offered and taken is part of the channel binding."""
DOMAIN = b"p2praft/1 identity"

DIALLER = b"dialler"
ACCEPTOR = b"acceptor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The first frame of each side on stream 0.

    Attributes:
        version: Of this handshake.
        peer_id: Who the sender is.
        wanted: Whom it takes the receiver for.
        instance: 8 random bytes, new in every process: a peer that restarted is known by it.
        signature: Over the transcript.
    """

    version: int
    peer_id: PeerId
    wanted: PeerId
    instance: Annotated[bytes, Size(8, 8)]
    signature: Annotated[bytes, Size(64, 64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """The last frame on stream 0: the sender ends the connection, once the receiver has all that was sent on it.

    QUIC's own CONNECTION_CLOSE ends a connection at once, and with it whatever waits for pacing or for the congestion
    window, or was lost on the way. So the receiver is told how much there is, and closes the connection when it has it.

    Attributes:
        code: The application's error code.
        reason: Why, for people.
        sent: Bytes that the sender has put on all other streams since the connection began.
    """

    code: Annotated[int, Range(0, 255)]
    reason: Annotated[str, Size(0, 400)]
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Fills a datagram of the largest size; the receiver answers, so the sender learns that the path takes such ones."""

    padding: Annotated[bytes, Size(0, 16_384)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """The probe has arrived."""


MAX_PROOF = 1024
"""Bytes of a proof's frame at most: all that is taken before it."""
PROOF = Protocol(name="identity/1", messages={1: Proof, 2: Goodbye, 3: Probe, 4: ProbeAnswer}, max_frame=16_500)


class KeyLog(io.StringIO):
    """Takes the session's secrets from the TLS engine and keeps only those that the binding needs."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: dict[str, bytes] = {}

    def write(self, line: str) -> int:
        label, _, secret = line.split()
        if label in ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"):
            self._secrets[label] = bytes.fromhex(secret)
        return len(line)

    def channel_binding(self) -> bytes:
        """The connection's binding; the handshake must be complete."""
        binding = channel_binding(self._secrets["CLIENT_TRAFFIC_SECRET_0"], self._secrets["SERVER_TRAFFIC_SECRET_0"])
        self._secrets.clear()
        return binding


def channel_binding(client_secret: bytes, server_secret: bytes) -> bytes:
    """32 bytes that name a TLS session to its two ends (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"p2praft/1 channel binding").derive(
        client_secret + server_secret
    )


def transcript(version: int, role: bytes, binding: bytes, own: PeerId, remote: PeerId, instance: bytes) -> bytes:
    """What a proof signs; every part has a fixed length or stands behind its length."""
    return b"".join(
        (DOMAIN, version.to_bytes(4, "big"), bytes([len(role)]), role, binding, own.key, remote.key, instance)
    )


def make_proof(key: SecretKey, *, role: bytes, binding: bytes, remote: PeerId, instance: bytes) -> Proof:
    """This side's proof."""
    signed = transcript(VERSION, role, binding, key.peer_id, remote, instance)
    return Proof(version=VERSION, peer_id=key.peer_id, wanted=remote, instance=instance, signature=key.sign(signed))


def check_proof(proof: Proof, *, role: bytes, binding: bytes, me: PeerId) -> str | None:
    """What is wrong with the other side's proof; None if it holds.

    Args:
        proof: What it sent.
        role: The role that it must have signed, the opposite of ours.
        binding: Of this connection.
        me: Whom it must have signed for.
    """
    if proof.version != VERSION:
        return f"identity proof of version {proof.version}, this node knows {VERSION}"
    if proof.wanted != me:
        return f"this is {me}, not {proof.wanted}"
    if proof.peer_id == me:
        return "a node cannot be its own peer"
    signed = transcript(proof.version, role, binding, proof.peer_id, me, proof.instance)
    if not proof.peer_id.verify(proof.signature, signed):
        return "the identity proof does not hold"
    return None
