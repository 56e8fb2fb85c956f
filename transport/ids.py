"""Names made of a fixed number of bytes, written as lower-case base32 without padding (RFC 4648, section 6)."""

from __future__ import annotations

import base64
from functools import total_ordering
from typing import ClassVar, Self

from transport.errors import AddressError, WireError


@total_ordering
class ByteId:
    """Immutable, hashable, ordered by its bytes; ``str()`` and :meth:`parse` round trip.

    Attributes:
        key: The bytes.
        size: How many.
        what: What it names, for messages.
    """

    __slots__ = ("key",)
    size: ClassVar[int]
    what: ClassVar[str]

    def __init__(self, key: bytes) -> None:
        if len(key) != self.size:
            raise AddressError(f"a {self.what} is {self.size} bytes, not {len(key)}")
        self.key = key

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that ``str()`` wrote.

        Raises:
            AddressError: It is none.
        """
        try:
            return cls(base64.b32decode(text.upper() + "=" * (-len(text) % 8)))
        except ValueError:
            letters = -(-cls.size * 8 // 5)
            raise AddressError(f"{text!r} is not a {cls.what}: expected {letters} letters and digits") from None

    @classmethod
    def from_wire(cls, plain: object) -> Self:
        """From the bytes of :meth:`to_wire`."""
        if type(plain) is not bytes or len(plain) != cls.size:
            raise WireError(f"a {cls.what} is {cls.size} bytes")
        return cls(plain)

    def to_wire(self) -> bytes:
        """The bytes."""
        return self.key

    @property
    def short(self) -> str:
        """The first 8 characters, for people."""
        return str(self)[:8]

    def __str__(self) -> str:
        return base64.b32encode(self.key).decode().rstrip("=").lower()

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.short}…')"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, ByteId) and self.key == other.key

    def __lt__(self, other: Self) -> bool:
        return self.key < other.key

    def __hash__(self) -> int:
        return hash(self.key)
