"""The words of the Raft paper as types: terms, indices, positions, members and votes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, NewType

from transport import PeerId
from transport.wire import Size

Term = NewType("Term", int)
Index = NewType("Index", int)

Digest = Annotated[bytes, Size(16, 16)]
"""Of an entry and, through its predecessor's digest, of all before it."""
NO_DIGEST = bytes(16)
"""The digest before the first entry."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A position in a log. The order is the paper's "more up-to-date" (section 5.4.1): by term, then by index."""

    term: Term
    index: Index

    def __str__(self) -> str:
        return f"{self.term}/{self.index}"


START = Cursor(Term(0), Index(0))
"""Before the first entry."""


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A peer with one particular memory. A peer that lost its memory comes back as a later incarnation.

    Attributes:
        peer_id: Whose key proves the member.
        incarnation: Born with the storage; of one peer's the greater is the later (see :func:`later_incarnation`).
        volatile: Whether the storage dies with the process.
    """

    peer_id: PeerId
    incarnation: Annotated[bytes, Size(8, 8)]
    volatile: bool

    def __hash__(self) -> int:
        return hash(self.incarnation)  # random, and it keeps its hash: members are looked up at every step

    def __str__(self) -> str:
        return self.peer_id.short

    def is_later_than(self, other: Member) -> bool:
        """Whether this is a later incarnation of the same peer."""
        return self.peer_id == other.peer_id and self.incarnation > other.incarnation


def later_incarnation(than: bytes, random: bytes) -> bytes:
    """An incarnation above ``than``: a counter in the first four bytes, then four random ones.

    No clock decides which of two incarnations is the later. A peer that begins with an empty memory is told what others
    remember, and begins above that.
    """
    counter = min(int.from_bytes(than[:4], "big") + 1, 2**32 - 1)
    return counter.to_bytes(4, "big") + random[:4]


class Vote(IntEnum):
    """An answer to a candidate, and in ``AppendEntriesResponse`` whether the answer counts for commits."""

    GRANTED = 1
    DENIED = 2
    ABSTAINED = 3
