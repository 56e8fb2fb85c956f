"""A second implementation of what the document specifies, in as few lines, on hashes and signatures alone: no code of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def text(key: bytes) -> str:
    """How an id is written."""
    return base64.b32encode(key).decode().rstrip("=").lower()


def public(seed: bytes) -> bytes:
    """The PeerId of a private key."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed: bytes, data: bytes) -> bytes:
    """Its signature."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(data)


def hkdf(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 without a salt (RFC 5869)."""
    key = hmac.digest(bytes(32), secret, "sha256")
    block = made = b""
    for number in range(1, 2 + length // 32):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        made += block
    return made[:length]


def channel_binding(client: bytes, server: bytes) -> bytes:
    """Names a TLS session."""
    return hkdf(client + server, b"p2praft/1 channel binding")


def transcript(role: bytes, binding: bytes, prover: bytes, verifier: bytes, instance: bytes) -> bytes:
    """What a proof of identity signs."""
    return b"p2praft/1 identity" + struct.pack(">IB", 1, len(role)) + role + binding + prover + verifier + instance


def frame(value: Any) -> bytes:
    """A frame on a link."""
    payload: bytes = msgpack.packb(value)
    return struct.pack(">I", len(payload)) + payload


def network_id(name: str) -> bytes:
    """Names a network."""
    return hashlib.sha256(b"p2praft/1 network " + name.encode()).digest()


def entry(network: bytes, peer: bytes, version: list[int], endpoints: Any, tags: Any, groups: Any, left: bool) -> bytes:
    """What the owner of an entry signs."""
    packed: bytes = msgpack.packb([network, peer, version, endpoints, tags, groups, left])
    return b"p2praft/1 entry" + packed


def group_key(passphrase: str, network: bytes, name: str) -> bytes:
    """The key of a passphrase."""
    salt = b"p2praft/1 group passphrase" + msgpack.packb([network, name])
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)


def group_id(key: bytes, network: bytes, name: str, machine: str) -> bytes:
    """Names a group."""
    return hkdf(key, b"p2praft/1 group id " + msgpack.packb([network, name, machine]), 16)


def group_tag(key: bytes, group: bytes, peer: bytes) -> bytes:
    """What a member announces."""
    return hmac.digest(hkdf(key, b"p2praft/1 group tag " + group), peer, "sha256")[:16]


def bond_proof(
    key: bytes,
    group: bytes,
    binding: bytes,
    role: bytes,
    prover: bytes,
    verifier: bytes,
    memory: tuple[bytes, bool],
    process: tuple[bytes, int],
) -> bytes:
    """What a member proves itself with."""
    incarnation, volatile = memory
    nonce, start = process
    parts = [b"p2praft/1 bond", group, binding, role, prover, verifier, incarnation, bytes([volatile])]
    parts += [nonce, struct.pack(">Q", start)]
    mac = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return hmac.digest(hkdf(key, b"p2praft/1 bond"), mac, "sha256")


def snapshot_digest(chunks: list[bytes]) -> bytes:
    """Names a snapshot."""
    return hashlib.sha256(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)).digest()
