"""What members tell each other about histories."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from p2praft.raft.entries import Snapshot
from p2praft.raft.histories.entries import NO_HISTORY, Branch, Genesis, HistoryId, Measure, Nonce, Voters
from p2praft.raft.types import START, Cursor, Digest, Member, Term
from transport.wire import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a member that hears no leader holds.

    Attributes:
        last: Where its log ends.
        digest: There.
        term: The latest term that it has seen.
        voters: The newest voter set in its log.
    """

    last: Cursor
    digest: Digest
    term: Term
    voters: Annotated[tuple[Member, ...], Size(0, 32)]


class End(IntEnum):
    """How a member's part in a history ended."""

    SEALED = 1
    """By the history's own quorum. The member keeps its incarnation."""
    REBORN = 2
    """The history had died; the member is a founder of the one that goes on. It keeps its incarnation."""
    LEFT = 3
    """The member gave up what it had promised, and became another member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a history ended for a member, remembered for ever.

    Attributes:
        branch: Which history, and its end as far as the member held it.
        into: The history that it ended in favour of; 16 zero bytes if in favour of none.
        how: What ended it.
        incarnation: The member's, with which it never takes the history up again.
    """

    branch: Branch
    into: HistoryId = NO_HISTORY
    how: End
    incarnation: Annotated[bytes, Size(8, 8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a member is, told to every bonded member at first and whenever it changes, once it is durable.

    Attributes:
        factor: The leadership preference: 0 observer, 1 normal, more is reluctant.
        leaving: Whether it wants out of the voter set.
        joins_only: Whether it neither founds nor lets itself be named as the founder of an empty history.
        may_write: Whether it may write a genesis now.
        attempt: Number of the member's newest attempt at founding.
        history: The history it holds, or is about to; 16 zero bytes if none.
        genesis: Of that history, once it holds it.
        founded: Whether it knows that the genesis is committed.
        measure: The history's place in the order, by its own whole log.
        seal: The history's end, if it knows that a seal is committed.
        held: What it holds, if it hears no leader.
        known: Histories that its own descends from or has taken over.
        over: Voters of its history, and the writer of its genesis, whose incarnations it knows to be over.
        lost: Members that an operator has declared lost for ever.
        snapshot: The newest snapshot that others may fetch from it.
        start: Which start of its storage this is.
        began_in: The history that it held when it started.
        began_with: Where its log ended then.
    """

    wire_tag: ClassVar[int] = 13
    factor: float
    leaving: bool = False
    joins_only: bool = False
    may_write: bool = False
    attempt: int = 0
    history: HistoryId = NO_HISTORY
    genesis: Genesis | None = None
    founded: bool = False
    measure: Measure = Measure()
    seal: Ended | None = None
    held: Held | None = None
    known: Annotated[tuple[HistoryId, ...], Size(0, 65536)] = ()
    over: Annotated[tuple[Member, ...], Size(0, 64)] = ()
    lost: Annotated[tuple[Member, ...], Size(0, 256)] = ()
    snapshot: Snapshot | None = None
    start: int = 0
    began_in: HistoryId = NO_HISTORY
    began_with: Cursor = START
    term: ClassVar[None] = None

    @property
    def lives(self) -> bool:
        """Whether it holds a founded history that has not ended."""
        return self.founded and self.seal is None and self.history != NO_HISTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Tells a leader that a member of its history is bonded with one of another.

    Attributes:
        measure: The other history's, as its member told it.
    """

    wire_tag: ClassVar[int] = 19
    measure: Measure
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLife:
    """Asks a history's leader for a proof that the history lives; handed on by members of either history.

    Attributes:
        asker: The history in whose name it is asked.
        of: The history that is asked.
        nonce: Chosen by who asks.
    """

    wire_tag: ClassVar[int] = 20
    asker: HistoryId
    of: HistoryId
    nonce: Nonce
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeProof:
    """Answers :class:`AskLife`: ``of`` has committed its promise to take over ``asker``.

    Attributes:
        asker: Echo.
        of: Echo.
        nonce: Echo.
        measure: Of the history, up to that entry.
        voters: Its voters.
    """

    wire_tag: ClassVar[int] = 21
    asker: HistoryId
    of: HistoryId
    nonce: Nonce
    measure: Measure
    voters: Voters
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """Tells a member that its peer is remembered as another incarnation, or that its own has ended.

    Attributes:
        incarnation: What the sender remembers; the member's next one must be above it.
        start: If given, the member's start at which it held less than it had acknowledged before; its incarnation has ended.
    """

    wire_tag: ClassVar[int] = 22
    incarnation: Annotated[bytes, Size(8, 8)]
    start: int | None = None
    term: ClassVar[None] = None


HistoryMessage = Standing | Met | AskLife | LifeProof | Superseded
HISTORY_MESSAGES = frozenset((Standing, Met, AskLife, LifeProof, Superseded))
"""The same, for a quick look: most messages are none of these."""
