"""Who a peer is: an Ed25519 key (RFC 8032), and how it is kept and written."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from functools import total_ordering
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from transport.errors import AddressError, KeyFileError, WireError


@total_ordering
class PeerId:
    """A peer's name: the 32 bytes of its public key.

    Attributes:
        key: The bytes.
    """

    __slots__ = ("_hash", "_text", "key")

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) != 32:
            raise AddressError("a peer id is 32 bytes")
        self.key = key
        self._hash = hash(key)
        self._text: str | None = None

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """The id that ``str()`` wrote.

        Raises:
            AddressError: It is none.
        """
        try:
            if len(text) != 52 or text != text.lower():
                raise ValueError
            peer_id = cls(base64.b32decode(text.upper() + "===="))
            if str(peer_id) != text:  # the last character has spare bits: one spelling a peer
                raise ValueError
        except (ValueError, binascii.Error):
            raise AddressError(
                f"{text!r} is not a peer id: expected 52 lower-case letters and digits 2 to 7, as `p2praft id show` prints"
            ) from None
        return peer_id

    @classmethod
    def from_wire(cls, plain: object) -> PeerId:
        """From the bytes of :meth:`to_wire`."""
        if type(plain) is not bytes or len(plain) != 32:
            raise WireError("a peer id is 32 bytes")
        return cls(plain)

    def to_wire(self) -> bytes:
        """The 32 bytes."""
        return self.key

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether this peer signed ``data``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def short(self) -> str:
        """The first 8 characters, for people."""
        return str(self)[:8]

    def __str__(self) -> str:
        if self._text is None:
            self._text = base64.b32encode(self.key).decode().rstrip("=").lower()
        return self._text

    def __repr__(self) -> str:
        return f"PeerId('{self.short}…')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PeerId) and self.key == other.key

    def __lt__(self, other: PeerId) -> bool:
        return self.key < other.key if isinstance(other, PeerId) else NotImplemented

    def __hash__(self) -> int:
        return self._hash


class SecretKey:
    """A peer's private key.

    Attributes:
        peer_id: Its public side.
    """

    __slots__ = ("_private", "peer_id")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.peer_id = PeerId(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> SecretKey:
        """A fresh key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SecretKey:
        """The key in a file.

        Raises:
            KeyFileError: The file is missing, readable by others, or holds no key.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(16 * 1024)
        except FileNotFoundError:
            raise KeyFileError(f"{path} does not exist; make a key with `p2praft id new {path}`") from None
        except OSError as error:
            raise KeyFileError(f"cannot read {path}: {error.strerror}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise KeyFileError(f"others can read {path}, so it is no secret; run `chmod 600 {path}`, or make a new key")
        try:
            private = load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError(f"{path} holds no Ed25519 key; make one with `p2praft id new FILE`")
        return cls(private)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file that only its owner can read.

        Raises:
            KeyFileError: The file exists, or cannot be written.
        """
        path = Path(path)
        data = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise KeyFileError(
                f"{path} exists; a key is never overwritten: choose another name, or remove it"
            ) from None
        except OSError as error:
            raise KeyFileError(f"cannot write {path}: {error.strerror}") from None
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of ``data``."""
        return self._private.sign(data)

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """For making certificates."""
        return self._private

    def __repr__(self) -> str:
        return f"SecretKey({self.peer_id.short}…)"
