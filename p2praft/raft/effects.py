"""What the engine asks its shell to do.

The shell performs a batch in any order but for two rules: writes reach the disk in the order of their serials, and
``Engine.persisted(serial)`` is called only after that write, and all before it, are durable. Messages that promise
something stay inside the engine until then, so whatever stands in ``messages`` may leave at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from p2praft.raft.entries import Base, LogEntry, Snapshot
from p2praft.raft.histories.messages import Ended
from p2praft.raft.histories.record import Record
from p2praft.raft.messages import Message
from p2praft.raft.types import Index, Member, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What must survive a crash beside the entries (paper, figure 2, "Persistent state").

    Attributes:
        term: Latest term seen.
        vote: Who got the vote in that term.
    """

    term: Term = Term(0)
    vote: Member | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A log that is kept aside, and why.

    Attributes:
        ended: Which history it is of, where the log ends, and in favour of which history it was given up.
        whole: Whether it holds all that the history ever acknowledged, as far as this member knows.
        entries: The log behind its base, for storages that do not have it.
    """

    ended: Ended
    whole: bool
    entries: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One atomic change of the storage, in the order of the attributes.

    Attributes:
        serial: Counts writes from 1.
        snapshot: The chunks stored since the last such write are this snapshot, and it replaces the one before.
        base: What the log now begins behind: all entries up to there are dropped.
        archives: The log and the snapshot, as they are now, are kept aside under each of these.
        clear: The log and the snapshot are dropped.
        revive: The newest archive of this history becomes the log again, with its snapshot.
        state: New hard state, or None if it stays.
        record: What is remembered of histories, or None if it stays.
        incarnation: Who this member is from now on, or None if it stays.
        replace_from: All entries from this index on are replaced by ``entries``; None leaves them.
        entries: Contiguous, the first stands at ``replace_from``.
    """

    serial: int
    snapshot: Snapshot | None = None
    base: Base | None = None
    archives: tuple[Archive, ...] = ()
    clear: bool = False
    revive: bytes | None = None
    state: HardState | None = None
    record: Record | None = None
    incarnation: bytes | None = None
    replace_from: Index | None = None
    entries: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkWrite:
    """One chunk of the snapshot that is being made or fetched; it counts once a :class:`Write` names the snapshot."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message for a bonded member.

    Attributes:
        to: The member.
        history: The history it speaks of; 16 zero bytes if none.
        message: What to send.
    """

    to: Member
    history: bytes
    message: Message


class EventKind(StrEnum):
    """What an application may want to hear about."""

    ROLE = "role"
    LEADER = "leader"
    VOTERS = "voters"
    FOUNDED = "founded"
    TAKEN_BACK = "taken back"
    YIELDED = "yielded"
    SEALED = "sealed"
    REBORN = "reborn"
    RENEWED = "renewed"
    STRANDED = "stranded"
    DIFFERS = "differs"
    SNAPSHOT = "snapshot"
    CATCHING_UP = "catching up"
    LOST = "declared lost"
    RIVAL_LEADER = "rival leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """Something that changed in the engine.

    Attributes:
        kind: What.
        term: In which term.
        member: Whom it concerns: the leader, or None.
        text: For people.
    """

    kind: EventKind
    term: Term
    member: Member | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A proposal of this member has an answer: ``index`` is 0 if it was refused."""

    request: int
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A read of this member has an answer: ``index`` is 0 if it must be asked again."""

    request: int
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreChunk:
    """A fetched chunk is to be stored; then ``Engine.chunk_stored`` is called, with the same ``fetch``."""

    fetch: int
    number: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SendChunk:
    """A member asks for a chunk of our newest snapshot: read it and send it, in your own time."""

    to: Member
    digest: bytes
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """One batch of things to do.

    Attributes:
        renewed: This member is another from now on: everybody that is bonded must know before ``messages`` leave.
        messages: May leave now, in this order.
        write: To be made durable.
        end: The history was left for good; what the state machine is to keep of it, before ``reset``.
        restart: The storage holds another log now: drop this engine, and make one of what the storage holds.
        reset: The state machine starts from nothing, before ``committed`` is applied: another history was taken.
        committed: Newly committed entries, to be applied in this order.
        answers: To this member's own proposals and reads.
        events: For the application.
        chunks: To be stored or sent.
        restore: All chunks of this snapshot are stored: decode it, then call ``Engine.install``.
    """

    renewed: Member | None = None
    messages: list[Outgoing] = field(default_factory=list)
    write: Write | None = None
    end: Archive | None = None
    restart: bool = False
    reset: bool = False
    committed: tuple[LogEntry, ...] = ()
    answers: list[Accepted | Readable] = field(default_factory=list)
    events: list[EngineEvent] = field(default_factory=list)
    chunks: list[StoreChunk | SendChunk] = field(default_factory=list)
    restore: Snapshot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a storage holds at start.

    Attributes:
        state: The hard state.
        record: What is remembered of histories.
        entries: The log, from the entry behind ``base`` on.
        base: What the log begins behind, if its beginning was compacted.
        snapshot: The newest snapshot; it reaches at least to ``base``.
    """

    state: HardState = HardState()
    record: Record = Record()
    entries: tuple[LogEntry, ...] = ()
    base: Base | None = None
    snapshot: Snapshot | None = None
