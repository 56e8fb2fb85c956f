"""What the engine asks its shell to do.

The shell performs a batch in any order but for two rules: writes reach the disk in the order of their serials, and
``Engine.persisted(serial)`` is called only after that write, and all before it, are durable. Messages that promise
something stay inside the engine until then, so whatever stands in ``messages`` may leave at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from p2praft.raft.messages import Base, Genesis, Index, LogEntry, Member, Message, Snapshot, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What must survive a crash beside the entries (paper, figure 2, "Persistent state").

    Attributes:
        term: Latest term seen.
        vote: Who got the vote in that term.
        attempt: Number of the newest attempt at founding; survives the history it belonged to.
        founded: Whether the history's genesis is known to be committed.
        lost: Members that an operator has declared lost for ever.
    """

    term: Term = Term(0)
    vote: Member | None = None
    attempt: int = 0
    founded: bool = False
    lost: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One atomic change of the storage, in this order: archive or clear, state, snapshot, base, entries.

    Attributes:
        serial: Counts writes from 1.
        state: New hard state, or None if it stays.
        replace_from: All entries from this index on are replaced by ``entries``; None leaves them.
        entries: Contiguous, the first stands at ``replace_from``.
        clear: The whole history is dropped first.
        archive: With ``clear``: the dropped history is kept aside.
        snapshot: The chunks stored since the last such write are this snapshot, and it replaces the one before.
        base: What the log now begins behind: all entries up to there are dropped.
    """

    serial: int
    state: HardState | None = None
    replace_from: Index | None = None
    entries: tuple[LogEntry, ...] = ()
    clear: bool = False
    archive: bool = False
    snapshot: Snapshot | None = None
    base: Base | None = None


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
        messages: May leave now, in this order.
        write: To be made durable.
        reset: The state machine starts from nothing, before ``committed`` is applied: another history was taken.
        committed: Newly committed entries, to be applied in this order.
        answers: To this member's own proposals and reads.
        events: For the application.
        chunks: To be stored or sent.
        restore: All chunks of this snapshot are stored: decode it, then call ``Engine.install``.
    """

    messages: list[Outgoing] = field(default_factory=list)
    write: Write | None = None
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
        entries: The log, from the entry behind ``base`` on.
        base: What the log begins behind, if its beginning was compacted.
        snapshot: The newest snapshot; it reaches at least to ``base``.
    """

    state: HardState = HardState()
    entries: tuple[LogEntry, ...] = ()
    base: Base | None = None
    snapshot: Snapshot | None = None

    @property
    def genesis(self) -> Genesis | None:
        """Of the history it holds, if any."""
        if self.base is not None:
            return self.base.genesis
        first = self.entries[0].payload if self.entries else None
        return first if isinstance(first, Genesis) else None
