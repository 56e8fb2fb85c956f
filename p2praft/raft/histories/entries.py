"""What the log holds of histories: how one begins, promises to take over another, and ends; and where that puts it in the order."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Annotated, ClassVar

from p2praft.raft.types import Cursor, Digest, Index, Member
from transport import PeerId
from transport.wire import Range, Size

HistoryId = Annotated[bytes, Size(16, 16)]
NO_HISTORY = bytes(16)
Nonce = Annotated[bytes, Size(16, 16)]
Voters = Annotated[tuple[Member, ...], Size(1, 32)]

_POSITION = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all members of a group share; a joiner takes the group's. Times are seconds.

    The fields mean what they mean in :class:`~p2praft.ConsensusConfig`; ``machine`` is the state machine's version.
    """

    heartbeat_interval: float
    election_timeout: float
    election_timeout_jitter: float
    bootstrap_delay: float
    expect: Annotated[int, Range(1, 31)]
    max_voters: Annotated[int, Range(1, 31)]
    voter_grace: float
    shrink_after: float
    snapshot_every: int
    machine: Annotated[int, Range(1, 2**31)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A position in a history, and the digest of all up to there.

    Attributes:
        history: Which history.
        at: Its last entry that counts: where a child branched off, or the seal.
        digest: At that entry.
    """

    history: HistoryId
    at: Cursor
    digest: Digest


def source_of(end: Branch) -> HistoryId:
    """Names one end of one history in 16 bytes: two members that left it at different positions left two ends."""
    return hashlib.blake2b(
        end.history + _POSITION.pack(end.at.term, end.at.index) + end.digest, digest_size=16
    ).digest()


# --- entries ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """Begins a history: the first entry of all, or the entry behind the last one that was taken over from a parent.

    Attributes:
        history: Random id.
        writer: Who wrote it; only the writer may commit it or take it back.
        attempt: Counts the writer's attempts.
        founders: The first voters; every one must hold the genesis before it is committed.
        reluctant: Whether the writer would rather not lead; it then ranks behind all who would.
        created: The writer's clock, seconds since the Unix epoch; for people, it decides nothing.
        ancestors: Where the history branched off, from the oldest to the parent.
        settings: Of the group; None in what release 0.1 wrote.
    """

    wire_tag: ClassVar[int] = 1
    history: HistoryId
    writer: Member
    attempt: int
    founders: Annotated[tuple[Member, ...], Size(1, 31)]
    reluctant: bool
    created: float
    ancestors: Annotated[tuple[Branch, ...], Size(0, 256)] = ()
    settings: Settings | None = None

    @property
    def voters_from_here(self) -> tuple[Member, ...]:
        """The voter set that it begins with."""
        return self.founders

    @property
    def rank(self) -> tuple[bool, PeerId]:
        """Of two uncommitted geneses the one with the smaller value goes on; the other's writer takes it back."""
        return (self.reluctant, self.writer.peer_id)

    def branch_of(self, history: bytes) -> Branch | None:
        """Where it left ``history``, if that is an ancestor."""
        return next((branch for branch in self.ancestors if branch.history == history), None)

    def history_at(self, index: int) -> HistoryId:
        """In which history an index of the log, up to this one's own, was written: this one or an ancestor."""
        return next((branch.history for branch in self.ancestors if index <= branch.at.index), self.history)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Ends a history, into another that has proven that it lives. Only no-ops may follow.

    Attributes:
        into: The other history.
        voters: Its voters, as its proof of life named them.
    """

    wire_tag: ClassVar[int] = 6
    into: HistoryId
    voters: Voters


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorb:
    """Promises to take over another history. Committed, it proves to the one that asked that this history lives.

    Attributes:
        history: Whose members asked.
        nonce: Of the question.
    """

    wire_tag: ClassVar[int] = 7
    history: HistoryId
    nonce: Nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbed:
    """Another history has ended in favour of this one.

    Attributes:
        branch: Which history, and its end.
        also: Histories that it had taken over before, and its ancestors.
    """

    wire_tag: ClassVar[int] = 8
    branch: Branch
    also: Annotated[tuple[HistoryId, ...], Size(0, 512)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Puts the group's settings into a log whose genesis has none: one that release 0.1 founded."""

    wire_tag: ClassVar[int] = 9
    settings: Settings


# --- the order of histories ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """A history's place in the order: of two that meet, the lower one ends. Each part only grows.

    Attributes:
        has_data: Whether it has an application's command.
        quorum: The most voters that any of its voter sets had, but at most three.
        durable: The most voters with disks that any had.
        breadth: The most voters that any had.
        digits: Binary digits of the number of its entries with commands.
        history: Its id, so that no two are equal.
    """

    has_data: bool = False
    quorum: Annotated[int, Range(0, 3)] = 0
    durable: Annotated[int, Range(0, 32)] = 0
    breadth: Annotated[int, Range(0, 32)] = 0
    digits: Annotated[int, Range(0, 64)] = 0
    history: HistoryId = NO_HISTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a history's log says of it up to one position; what was compacted is remembered by it.

    Attributes:
        genesis: The newest.
        begins: Index of that genesis.
        commands: Entries with commands, those of the ancestors included.
        durable: The most voters with disks in any voter set since the genesis.
        breadth: The most voters in any.
        promised: Whether there was an :class:`Absorb`.
        absorbed: Histories that ended in favour of this one.
        known: Their ancestors, and what they had absorbed.
        settings: Of the group; None in a log of release 0.1 that has no :class:`Share` yet.
    """

    genesis: Genesis
    begins: Index
    commands: int = 0
    durable: int = 0
    breadth: int = 0
    promised: bool = False
    absorbed: Annotated[tuple[Branch, ...], Size(0, 4096)] = ()
    known: Annotated[tuple[HistoryId, ...], Size(0, 65536)] = ()
    settings: Settings | None = None

    @property
    def measure(self) -> Measure:
        """The history's place in the order."""
        return Measure(
            has_data=self.commands > 0,
            quorum=min(3, self.breadth),
            durable=self.durable,
            breadth=self.breadth,
            digits=self.commands.bit_length(),
            history=self.genesis.history,
        )
