"""What members tell each other, and what the log holds: values only.

Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (the Raft paper), figure 2;
Ongaro's thesis, sections 3.10 (TimeoutNow), 6.4 (read index) and 9.6 (pre-vote).

A message says its ``term`` (None if it has none) and, through :func:`names_leader`, whether its sender leads that term. Which
*history* a message belongs to travels beside it (see :mod:`p2praft.raft.founding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, NewType

from transport import PeerId
from transport.wire import Range, Size

Term = NewType("Term", int)
Index = NewType("Index", int)

HistoryId = Annotated[bytes, Size(16, 16)]
MAX_COMMAND = 1024 * 1024
"""Bytes of one encoded command at most."""
MAX_ENTRY = 2 * 1024 * 1024
"""Bytes of the commands of one entry at most; bounds every message with entries."""
MAX_CHUNK = 64 * 1024
"""Bytes of one chunk of a snapshot at most: small, so that heartbeats on the same bond are not held up."""


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
    """A peer with one particular memory. A peer that lost its log comes back as another member.

    Attributes:
        peer_id: Whose key proves the member.
        incarnation: Born with the storage.
        volatile: Whether the storage dies with the process: a new incarnation then proves that this one is gone.
    """

    peer_id: PeerId
    incarnation: Annotated[bytes, Size(8, 8)]
    volatile: bool

    def __hash__(self) -> int:
        return hash(self.incarnation)  # random, and it keeps its hash: members are looked up at every step

    def __str__(self) -> str:
        return self.peer_id.short


class Vote(IntEnum):
    """An answer to a candidate, and in ``AppendEntriesResponse`` whether the answer counts for commits."""

    GRANTED = 1
    DENIED = 2
    ABSTAINED = 3


# --- what the log holds -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The first entry of a history.

    Attributes:
        history: Random id.
        writer: Who wrote it; only the writer may commit it or take it back.
        attempt: Counts the writer's attempts.
        founders: The first voters; every one must hold the genesis before it is committed.
        reluctant: Whether the writer would rather not lead; it then ranks behind all who would.
        created: The writer's clock, seconds since the Unix epoch.
    """

    wire_tag: ClassVar[int] = 1
    history: HistoryId
    writer: Member
    attempt: int
    founders: Annotated[tuple[Member, ...], Size(1, 31)]
    reluctant: bool
    created: float

    @property
    def rank(self) -> tuple[bool, PeerId]:
        """Of two uncommitted geneses the one with the smaller value goes on; the other's writer takes it back."""
        return (self.reluctant, self.writer.peer_id)

    @property
    def seniority(self) -> tuple[int, float, bytes]:
        """Of two founded histories the one with the smaller value stays; the other yields. It never changes."""
        return (-len(self.founders), self.created, self.history)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOp:
    """Opens a leader's term, so that it can commit what its predecessors left (paper, section 8)."""

    wire_tag: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The voter set from here on; valid as soon as it stands in the log (thesis, section 4.1)."""

    wire_tag: ClassVar[int] = 3
    voters: Annotated[tuple[Member, ...], Size(1, 32)]


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


Payload = Genesis | NoOp | Configuration | OpenSession | Commands


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the replicated log.

    Attributes:
        term: When the leader received it (paper, figure 2).
        index: Its position; the genesis stands at 1.
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
        return 64 + (sum(map(len, payload.commands)) if type(payload) is Commands else 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a log begins behind: everything up to ``last`` is committed and may be compacted (paper, section 7).

    Attributes:
        last: Position of the newest entry it stands for.
        time: That entry's time.
        genesis: Of the history.
        voters: The voter set that was valid there.
        voters_index: Where that set stands.
    """

    last: Cursor
    time: float
    genesis: Genesis
    voters: Annotated[tuple[Member, ...], Size(1, 32)]
    voters_index: Index


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


# --- what members say ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVote:
    """Asks whether a campaign in the next term would find support; changes nothing (thesis, section 9.6).

    Attributes:
        term: The sender's current term (not the one it would campaign in), so that the rules for older and newer
            terms hold for it as for any message.
        last: Position of the sender's newest entry.
    """

    wire_tag: ClassVar[int] = 1
    term: Term
    last: Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVoteResponse:
    """Answers :class:`PreVote`; the fields mean what they mean in :class:`RequestVoteResponse`."""

    wire_tag: ClassVar[int] = 2
    term: Term
    vote: Vote
    supports: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote:
    """Gathers votes (paper, figure 2, "RequestVote RPC")."""

    wire_tag: ClassVar[int] = 3
    term: Term
    last: Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVoteResponse:
    """Answers :class:`RequestVote`.

    Attributes:
        term: The voter's current term.
        vote: ``GRANTED`` only from a voter whose log ends where the candidate's does.
        supports: Whether it counts towards the candidate's majority: a grant does, and so does the abstention of a
            member that lags and saved its vote. An observer's abstention does not.
    """

    wire_tag: ClassVar[int] = 4
    term: Term
    vote: Vote
    supports: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntries:
    """Replicates log entries; without entries it is a heartbeat.

    Source: Raft paper, figure 2, "AppendEntries RPC".

    Attributes:
        term: Leader's current term.
        prev: Position of the entry just before ``entries``.
        entries: Contiguous entries; the first stands at ``prev.index + 1``.
        leader_commit: Highest index that the leader knows to be committed.
        round: The leader's newest round; the answer echoes it and so confirms the leadership for reads that
            came before it (thesis, section 6.4).
    """

    wire_tag: ClassVar[int] = 5
    term: Term
    prev: Cursor
    entries: Annotated[tuple[LogEntry, ...], Size(0, 65536)] = ()
    leader_commit: Index
    round: int

    @property
    def last(self) -> Cursor:
        """The newest position this message vouches for; ``prev`` if it has no entries."""
        return self.entries[-1].cursor if self.entries else self.prev


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntriesResponse:
    """Answers :class:`AppendEntries`, once what it promises is durable.

    Attributes:
        term: The follower's current term.
        vote: ``GRANTED`` counts for commits and reads; ``ABSTAINED`` does not (an observer, or a log that lacks ``prev``).
        matched: Whether the logs agree up to ``last``.
        last: If matched, the newest position that the message vouched for; else where they may agree at the latest.
        round: Echo of the message's.
        fetching: The follower is being brought up to date by others: no entries for now.
    """

    wire_tag: ClassVar[int] = 6
    term: Term
    vote: Vote
    matched: bool
    last: Cursor
    round: int
    fetching: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot:
    """Says to a follower that what it lacks has been compacted: it must fetch a snapshot, from whoever has one.

    Source: Raft paper, figure 13; the chunks travel by :class:`FetchChunk`, from several members at once. It is a
    heartbeat too, answered by :class:`AppendEntriesResponse`.

    Attributes:
        term: Leader's current term.
        base: What the leader's log begins behind; an older snapshot would not help.
        round: As in :class:`AppendEntries`.
    """

    wire_tag: ClassVar[int] = 14
    term: Term
    base: Cursor
    round: int

    @property
    def last(self) -> Cursor:
        """The newest position this message vouches for."""
        return self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow:
    """The leader hands over: campaign at once (thesis, section 3.10)."""

    wire_tag: ClassVar[int] = 7
    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Asks the leader to append a payload.

    Attributes:
        request: Chosen by the sender, echoed by the answer.
        payload: What to append.
    """

    wire_tag: ClassVar[int] = 8
    request: int
    payload: OpenSession | Commands
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeResponse:
    """Answers :class:`Propose`.

    Attributes:
        request: Echo.
        index: Where the leader put it, not yet committed; 0 if the sender does not lead or takes no more for now.
    """

    wire_tag: ClassVar[int] = 9
    request: int
    index: Index
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndex:
    """Asks the leader for an index at which a read is linearizable (thesis, section 6.4)."""

    wire_tag: ClassVar[int] = 10
    request: int
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIndexResponse:
    """Answers :class:`ReadIndex`.

    Attributes:
        request: Echo.
        index: A state that has applied this much may serve the read; 0 if the sender does not lead.
    """

    wire_tag: ClassVar[int] = 11
    request: int
    index: Index
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchEntries:
    """Asks any member for committed entries.

    Attributes:
        first: Index of the first.
        last: Index of the last; the answer may end earlier.
    """

    wire_tag: ClassVar[int] = 12
    first: Index
    last: Index
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedEntries:
    """Answers :class:`FetchEntries`.

    Attributes:
        first: Echo.
        prev: Position of the entry just before ``entries``.
        entries: Committed entries from ``first`` on; none if the sender cannot help.
    """

    wire_tag: ClassVar[int] = 15
    first: Index
    prev: Cursor
    entries: Annotated[tuple[LogEntry, ...], Size(0, 65536)]
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchChunk:
    """Asks any member that holds a snapshot for one of its chunks.

    Attributes:
        digest: Which snapshot.
        number: Which chunk, from 0.
    """

    wire_tag: ClassVar[int] = 16
    digest: Annotated[bytes, Size(32, 32)]
    number: Annotated[int, Range(0, 1 << 24)]
    term: ClassVar[None] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedChunk:
    """Answers :class:`FetchChunk`.

    Attributes:
        digest: Echo.
        number: Echo.
        data: The chunk; None if the sender no longer holds that snapshot.
    """

    wire_tag: ClassVar[int] = 17
    digest: Annotated[bytes, Size(32, 32)]
    number: Annotated[int, Range(0, 1 << 24)]
    data: Annotated[bytes, Size(0, MAX_CHUNK)] | None
    term: ClassVar[None] = None


StateSync = FetchEntries | FetchedEntries | FetchChunk | FetchedChunk
"""How members bring each other up to date beside the leader's own replication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a member is, told to every bonded member at first and whenever it changes, once it is durable.

    Attributes:
        factor: The leadership preference: 0 observer, 1 normal, more is reluctant.
        genesis: Of the history it holds, if any.
        founded: Whether it knows that the genesis is committed.
        attempt: Number of the member's newest attempt at founding.
        gone: Founders of its genesis that it knows to be gone for good.
        leaving: Whether it wants out of the voter set.
        lost: Members that an operator has declared lost for ever (``recover``).
        snapshot: The newest snapshot that others may fetch from it.
        voters_index: Where the newest voter set stands in its log; 0 if it has none.
        heard_index: The highest such index that a member of this history, or of any if it has none, told it of itself.
    """

    wire_tag: ClassVar[int] = 13
    factor: float
    genesis: Genesis | None
    founded: bool
    attempt: int
    gone: Annotated[tuple[Member, ...], Size(0, 31)]
    leaving: bool
    lost: Annotated[tuple[Member, ...], Size(0, 256)] = ()
    snapshot: Snapshot | None = None
    voters_index: Index = Index(0)
    heard_index: Index = Index(0)
    term: ClassVar[None] = None


Message = (
    PreVote
    | PreVoteResponse
    | RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | TimeoutNow
    | Propose
    | ProposeResponse
    | ReadIndex
    | ReadIndexResponse
    | FetchEntries
    | Standing
    | InstallSnapshot
    | FetchedEntries
    | FetchChunk
    | FetchedChunk
)


def names_leader(message: Message) -> bool:
    """Whether the message says that its sender leads the message's term."""
    return isinstance(message, AppendEntries | InstallSnapshot | TimeoutNow)
