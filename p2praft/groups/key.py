"""What the members of a group share, and what the group is called on the wire."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from discovery import NetworkId
from p2praft.config import ConsensusConfig
from p2praft.errors import ConfigError
from p2praft.groups.machine import pack
from transport.ids import ByteId

_PASSPHRASE_SALT = b"p2praft/1 group passphrase"


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
    def from_passphrase(cls, text: str) -> GroupKey:
        """The key of a passphrase, by scrypt (RFC 7914; n=2**15, r=8, p=1: some 0.1 s and 32 MB).

        Every member of the network sees enough of a bond's opening to try passphrases at that price each, so choose a
        long one, or use :meth:`generate`.

        Raises:
            ConfigError: The passphrase is empty.
        """
        if not text:
            raise ConfigError("the group's secret is empty: give a passphrase or a GroupKey")
        secret = hashlib.scrypt(
            text.encode(), salt=_PASSPHRASE_SALT, n=2**15, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=32
        )
        return cls(secret)

    def derive(self, purpose: bytes, length: int = 32) -> bytes:
        """Key material for one purpose (HKDF-SHA256, RFC 5869)."""
        return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=b"p2praft/1 " + purpose).derive(
            self.secret
        )

    def __repr__(self) -> str:
        return "GroupKey(…)"


class GroupId(ByteId):
    """Names a group: members that differ in key, settings, state machine or validators have different ones.

    The first 4 bytes are a hash of the network's and the group's name, so that members which merely mistyped the
    secret can be told so; the other 12 are derived from the key.
    """

    __slots__ = ()
    size = 16
    what = "group id"

    @classmethod
    def of(
        cls,
        key: GroupKey,
        *,
        network: NetworkId,
        name: str,
        config: ConsensusConfig,
        signature: str,
        validators: Sequence[str] = (),
    ) -> GroupId:
        """The id of a group.

        Args:
            key: The secret.
            network: Where it lives.
            name: What it is called.
            config: How it agrees.
            signature: The state machine's.
            validators: The validators' signatures, in order.
        """
        # Seconds are packed as they are declared: somebody's 1 is not another group than somebody else's 1.0.
        settings = [
            float(value) if item.type == "float" else value
            for item, value in zip(fields(config), astuple(config), strict=True)
        ]
        what = pack([str(network), name, settings, signature, list(validators)])
        named = hashlib.sha256(pack(["p2praft/1 group name", str(network), name])).digest()
        return cls(named[:4] + key.derive(b"group id " + hashlib.sha256(what).digest(), 12))

    def is_namesake(self, other: bytes) -> bool:
        """Whether ``other`` is a different group of the same name."""
        return other != self.key and other[:4] == self.key[:4]


def proof(bond_key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over parts, each with its length in front, so that no two lists of parts look alike."""
    mac = hmac.new(bond_key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(4, "big"))
        mac.update(part)
    return mac.digest()
