"""What the members of a group share, what the group is called on the wire, and how they recognise each other."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from discovery import NetworkId, PeerInfo
from p2praft.errors import ConfigError
from p2praft.groups.machine import pack
from transport import PeerId
from transport.ids import ByteId

_PASSPHRASE_SALT = b"p2praft/1 group passphrase"
KNOWN_TAGS = 16_384
"""Peers whose tags are kept, for each group; those of others are computed again."""


@dataclass(frozen=True, slots=True, repr=False)
class GroupKey:
    """32 secret bytes; whoever holds them may join the group.

    Attributes:
        secret: The bytes.
    """

    secret: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.secret, bytes) or len(self.secret) != 32:
            raise ConfigError("a group key is 32 bytes; make one with GroupKey.generate()")

    @classmethod
    def generate(cls) -> GroupKey:
        """A random key."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def from_passphrase(cls, text: str, *, network: NetworkId | str = "", group: str = "") -> GroupKey:
        """The key of a passphrase, by scrypt (RFC 7914; n=2**15, r=8, p=1: some 0.1 s and 32 MB).

        Every member of the network sees enough of what a node announces to try passphrases at that price each, so choose
        a long one, or use :meth:`generate`.

        Args:
            text: The passphrase.
            network: Where the group lives: the network's name, or its id.
            group: What the group is called.

        With ``network`` and ``group`` it is the key that ``Network.group(group, secret=text)`` uses: no table of keys
        serves for two groups. Without them it is another key, the one that release 0.1 made, and the same in each group:
        for a program that passed it as a key then, or that has one key for several groups. A member that passes
        the text and one that passes this key do not meet.

        Raises:
            ConfigError: The passphrase is empty, or only one of ``network`` and ``group`` is given.
        """
        if not text:
            raise ConfigError("the group's secret is empty: give a passphrase or a GroupKey")
        if bool(network) != bool(group):
            raise ConfigError("network and group of a passphrase go together: give both names, or neither")
        salt = _PASSPHRASE_SALT
        if network:
            where = network if isinstance(network, NetworkId) else NetworkId.of(network)
            salt += pack([where.key, group])
        return cls(hashlib.scrypt(text.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=32))

    def derive(self, purpose: bytes, length: int = 32) -> bytes:
        """Key material for one purpose (HKDF-SHA256, RFC 5869)."""
        return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=b"p2praft/1 " + purpose).derive(
            self.secret
        )

    def __repr__(self) -> str:
        return "GroupKey(…)"


class GroupId(ByteId):
    """Names a group, to those who hold its key; nobody else sees it.

    Members that differ in key, network, group's name or state machine's name have different ones. Settings, the machine's
    version, validators and members are not in it.
    """

    __slots__ = ()
    size = 16
    what = "group id"

    @classmethod
    def of(cls, key: GroupKey, *, network: NetworkId, name: str, machine: str) -> GroupId:
        """The id of a group.

        Args:
            key: The secret.
            network: Where it lives.
            name: What it is called.
            machine: The state machine's name, without its version.
        """
        return cls(key.derive(b"group id " + pack([network.key, name, machine]), cls.size))


class GroupTag(ByteId):
    """What one member announces of a group: other members recognise it, to anybody else it is 16 random bytes."""

    __slots__ = ()
    size = 16
    what = "group tag"


class Tags:
    """The tags of one group: a MAC of each member's PeerId, so that nobody without the key can link two members.

    Args:
        key: The group's secret.
        group: The group.
    """

    def __init__(self, key: GroupKey, group: GroupId) -> None:
        self._key = key.derive(b"group tag " + group.key)
        # Cached, for the whole catalog is looked through ten times a second.
        self._of = lru_cache(KNOWN_TAGS)(self._compute)

    def of(self, peer_id: PeerId) -> bytes:
        """What a member announces; 16 bytes."""
        return self._of(peer_id)

    def announced_by(self, peer: PeerInfo) -> bool:
        """Whether a peer says that it is a member. Only a holder of the key can; a bond proves it."""
        return self._of(peer.peer_id) in peer.groups

    def _compute(self, peer_id: PeerId) -> bytes:
        return hmac.digest(self._key, peer_id.key, "sha256")[: GroupTag.size]


def proof(bond_key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over parts, each with its length in front, so that no two lists of parts look alike."""
    mac = hmac.new(bond_key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(4, "big"))
        mac.update(part)
    return mac.digest()
