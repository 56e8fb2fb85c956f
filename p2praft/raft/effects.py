"""What the engine asks its shell to do.

The shell performs a batch in any order but for two rules: writes reach the disk in the order of their serials, and
``Engine.persisted(serial)`` is called only after that write, and all before it, are durable. Messages that promise
something stay inside the engine until then, so whatever stands in ``messages`` may leave at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from p2praft.raft.messages import Genesis, Index, LogEntry, Member, Message, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What must survive a crash beside the entries (paper, figure 2, "Persistent state").

    Attributes:
        term: Latest term seen.
        vote: Who got the vote in that term.
        attempt: Number of the newest attempt at founding; survives the history it belonged to.
        founded: Whether the history's genesis is known to be committed.
    """

    term: Term = Term(0)
    vote: Member | None = None
    attempt: int = 0
    founded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One atomic change of the storage, in this order: archive or clear, state, entries.

    Attributes:
        serial: Counts writes from 1.
        state: New hard state, or None if it stays.
        replace_from: All entries from this index on are replaced by ``entries``; None leaves them.
        entries: Contiguous, the first stands at ``replace_from``.
        clear: The whole history is dropped first.
        archive: With ``clear``: the dropped history is kept aside.
    """

    serial: int
    state: HardState | None = None
    replace_from: Index | None = None
    entries: tuple[LogEntry, ...] = ()
    clear: bool = False
    archive: bool = False


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
class Effects:
    """One batch of things to do.

    Attributes:
        messages: May leave now, in this order.
        write: To be made durable.
        reset: The state machine starts from nothing, before ``committed`` is applied: another history was taken.
        committed: Newly committed entries, to be applied in this order.
        answers: To this member's own proposals and reads.
        events: For the application.
    """

    messages: list[Outgoing] = field(default_factory=list)
    write: Write | None = None
    reset: bool = False
    committed: tuple[LogEntry, ...] = ()
    answers: list[Accepted | Readable] = field(default_factory=list)
    events: list[EngineEvent] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a storage holds at start.

    Attributes:
        state: The hard state.
        entries: The whole log.
    """

    state: HardState = HardState()
    entries: tuple[LogEntry, ...] = ()

    @property
    def genesis(self) -> Genesis | None:
        """Of the history it holds, if any."""
        first = self.entries[0].payload if self.entries else None
        return first if isinstance(first, Genesis) else None
