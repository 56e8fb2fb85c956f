"""What the log holds, and what stands for the part of it that was compacted: values only.

Source: Raft paper, figures 2 and 13; Ongaro's thesis, sections 4.1 (configurations) and 6.3 (sessions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from p2praft.raft.histories.entries import Absorb, Absorbed, Branch, Genesis, HistoryId, Past, Seal, Share, source_of
from p2praft.raft.types import Cursor, Digest, Index, Member, Term
from transport import PeerId
from transport.wire import Range, Size

MAX_COMMAND = 1024 * 1024
"""Bytes of one encoded command at most."""
MAX_ENTRY = 2 * 1024 * 1024
"""Bytes of the commands of one entry at most; bounds every message with entries."""
MAX_CHUNK = 64 * 1024
"""Bytes of one chunk of a snapshot at most: small, so that heartbeats on the same bond are not held up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOp:
    """Opens a leader's term, so that it can commit what its predecessors left (paper, section 8)."""

    wire_tag: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The voter set from here on; valid as soon as it stands in the log (thesis, section 4.1)."""

    wire_tag: ClassVar[int] = 3
    voters: Annotated[tuple[Member, ...], Size(1, 32)]

    @property
    def voters_from_here(self) -> tuple[Member, ...]:
        """As every entry calls it that brings a voter set."""
        return self.voters


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """Registers a proposer; the entry's index becomes the session's id (thesis, section 6.3).

    Attributes:
        nonce: By which the proposer recognises its own registration.
    """

    wire_tag: ClassVar[int] = 4
    nonce: Annotated[bytes, Size(16, 16)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Commands of one session, applied without others in between.

    Attributes:
        session: Id of the proposer's session.
        first: Sequence number of the first command in the session; the others follow without a gap.
        settled: Every sequence number up to this one has been answered; its result need not be kept.
        commands: As the state machine encoded them.
    """

    wire_tag: ClassVar[int] = 5
    session: int
    first: int
    settled: int
    commands: Annotated[tuple[Annotated[bytes, Size(0, MAX_COMMAND)], ...], Size(1, 65536)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a carried command comes from; it keeps its origin through every further history.

    A command that is replayed is named by its session. The session's id is an index, so it says which session only together
    with the history in which the session was opened: two histories that branched off from one parent use the same indices.

    Attributes:
        history: For a command that is replayed: the history in which its session was opened. For one that ``reconcile``
            made: names the end that its list carries (:func:`~p2praft.raft.histories.entries.source_of`).
        session: Id of the proposer's session; 0 for a command that ``reconcile`` made.
        number: Its number in the session; or its place in the list, from 1.
    """

    history: HistoryId
    session: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedList:
    """How far one list of carried commands has come.

    Attributes:
        end: The end of a history that the list carries over.
        digest: SHA-256 of the whole list.
        next: The place that comes next, from 1.
        total: How many places the list has.
        replayed: Whether its commands are the history's own rather than made by ``reconcile``.
    """

    end: Branch
    digest: Annotated[bytes, Size(32, 32)]
    next: Annotated[int, Range(1, 2**32)]
    total: Annotated[int, Range(0, 2**32)]
    replayed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it is to come."""
        return self.next > self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A part of a list that brings over what a history that has ended held, taken in the order of the list.

    A list has places. The first ones say what the ended history had itself carried over (``lists``, then ``seen``), so that it
    is not carried over again; the others are commands. Within an entry they stand in that order.

    Attributes:
        end: The end of the history that has ended.
        digest: SHA-256 of the whole list, so that no other list continues this one.
        first: The list's place of what stands first here, from 1.
        total: How many places the whole list has; an empty list is carried by one entry with nothing in it.
        lists: Lists that the ended history had taken, wholly or in part.
        seen: The newest replayed command of each session that the ended history had taken.
        origins: One a command.
        commands: As the state machine encoded them.
        replayed: Whether the commands are the ended history's own rather than made by ``reconcile``.
    """

    wire_tag: ClassVar[int] = 10
    end: Branch
    digest: Annotated[bytes, Size(32, 32)]
    first: Annotated[int, Range(1, 2**32)]
    total: Annotated[int, Range(0, 2**32)]
    lists: Annotated[tuple[CarriedList, ...], Size(0, 4096)] = ()
    seen: Annotated[tuple[Origin, ...], Size(0, 4096)] = ()
    origins: Annotated[tuple[Origin, ...], Size(0, 65536)]
    commands: Annotated[tuple[Annotated[bytes, Size(0, MAX_COMMAND)], ...], Size(0, 65536)]
    replayed: bool = False

    def __post_init__(self) -> None:
        if len(self.origins) != len(self.commands):
            raise ValueError("each carried command has an origin")

    @property
    def of(self) -> HistoryId:
        """Names the end that it carries over."""
        return source_of(self.end)

    @property
    def places(self) -> int:
        """How many places of the list it has."""
        return len(self.lists) + len(self.seen) + len(self.commands)


Proposal = OpenSession | Commands | Carried | Absorbed
"""What a member may ask the leader to append."""
Payload = Genesis | NoOp | Configuration | OpenSession | Commands | Seal | Absorb | Absorbed | Share | Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the replicated log.

    Attributes:
        term: When the leader received it (paper, figure 2).
        index: Its position; the first of all stands at 1.
        time: The leader's clock, seconds since the Unix epoch; never decreases along the log.
        proposer: Who asked for it.
        payload: What it does.
    """

    term: Term
    index: Index
    time: float
    proposer: PeerId
    payload: Payload

    @property
    def cursor(self) -> Cursor:
        """Its position with its term."""
        return Cursor(self.term, self.index)

    @property
    def size(self) -> int:
        """Roughly its bytes on the wire."""
        payload = self.payload
        if isinstance(payload, Commands):
            return 64 + sum(map(len, payload.commands))
        if isinstance(payload, Carried):
            return 256 + sum(map(len, payload.commands)) + 128 * payload.places
        return 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a log begins behind: everything up to ``last`` is committed and may be compacted (paper, section 7).

    Attributes:
        last: Position of the newest entry it stands for.
        time: That entry's time.
        digest: At that entry.
        voters: The voter set that was valid there.
        voters_index: Where that set stands.
        past: What the log up to there says of its history; see :mod:`p2praft.raft.histories`.
    """

    last: Cursor
    time: float
    digest: Digest
    voters: Annotated[tuple[Member, ...], Size(1, 32)]
    voters_index: Index
    past: Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state machine's state at one position, kept in chunks. Two of one digest are the same bytes.

    Attributes:
        base: The position, and what the log would have said up to there.
        chunks: How many chunks it has.
        digest: SHA-256 of the SHA-256 digests of its chunks.
    """

    base: Base
    chunks: Annotated[int, Range(1, 1 << 24)]
    digest: Annotated[bytes, Size(32, 32)]
