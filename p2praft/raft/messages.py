"""What members tell each other: values only.

Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (the Raft paper), figure 2;
Ongaro's thesis, sections 3.10 (TimeoutNow), 6.4 (read index) and 9.6 (pre-vote).

A message says its ``term`` (None if it has none) and, through :func:`names_leader`, whether its sender leads that term. Which
*history* a message belongs to travels beside it (see :mod:`p2praft.raft.histories`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from p2praft.raft.entries import MAX_CHUNK, LogEntry, Proposal
from p2praft.raft.histories.messages import AskLife, LifeProof, Met, Standing, Superseded
from p2praft.raft.types import Cursor, Digest, Index, Term, Vote
from transport.wire import Range, Size


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
        digest: At ``prev``: equal positions with other content must not be taken for agreement.
        entries: Contiguous entries; the first stands at ``prev.index + 1``.
        leader_commit: Highest index that the leader knows to be committed.
        stable: The newest position that the leader itself holds durably.
        safe: Whether the voter set was whole when the leader last looked: every voter live, caught up, and not over.
        round: The leader's newest round; the answer echoes it and so confirms the leadership for reads that
            came before it (thesis, section 6.4).
    """

    wire_tag: ClassVar[int] = 5
    term: Term
    prev: Cursor
    digest: Digest
    entries: Annotated[tuple[LogEntry, ...], Size(0, 65536)] = ()
    leader_commit: Index
    stable: Cursor
    safe: bool = False
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
    payload: Proposal
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
        digest: At ``prev``.
        entries: Committed entries from ``first`` on; none if the sender cannot help.
    """

    wire_tag: ClassVar[int] = 15
    first: Index
    prev: Cursor
    digest: Digest
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
    | Met
    | AskLife
    | LifeProof
    | Superseded
)


def names_leader(message: Message) -> bool:
    """Whether the message says that its sender leads the message's term."""
    return isinstance(message, AppendEntries | InstallSnapshot | TimeoutNow)
