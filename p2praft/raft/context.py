"""What all roles of one member share: its log, its term and vote, who is around, and what it wants done.

Roles read and change it; only the engine empties it into effects. Nothing here waits, reads a clock or rolls dice
but through what was passed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol as Interface

from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import P2PRaftError
from p2praft.raft.durability import Durability
from p2praft.raft.effects import (
    Accepted,
    EngineEvent,
    EventKind,
    HardState,
    Outgoing,
    Readable,
    Restored,
    SendChunk,
    StoreChunk,
)
from p2praft.raft.entries import LogEntry, Snapshot
from p2praft.raft.histories.entries import NO_HISTORY
from p2praft.raft.log import Log
from p2praft.raft.messages import InstallSnapshot, Message, StateSync
from p2praft.raft.roster import Roster
from p2praft.raft.types import Index, Member, Term

MAX_APPEND = 512 * 1024
"""Bytes of entries in one message, but for a single larger entry."""


class SafetyViolation(P2PRaftError):
    """A member was asked to overwrite what is committed. It stops rather than disagree with itself."""


class StateSyncProvider(Interface):
    """Brings members up to date beside the leader's own replication. Sees its messages before any role does."""

    @property
    def fetching(self) -> bool:
        """Whether it is bringing this member up to date, so that the leader need not send entries."""
        ...

    def receive(self, message: StateSync, sender: Member, ctx: Context) -> None:
        """Take a message of its own."""
        ...

    def on_far_behind(self, leader_at: Index, ctx: Context) -> None:
        """The leader's log goes at least to ``leader_at``, and ours ends before."""
        ...

    def on_install_snapshot(self, request: InstallSnapshot, leader: Member, history: bytes, ctx: Context) -> None:
        """The leader no longer has the entries that we lack."""
        ...

    def stop(self) -> None:
        """Forget what is being fetched."""
        ...


class Context:
    """The shared state of one member's engine.

    Attributes:
        me: This member.
        config: The group's settings.
        preference: This member's leadership preference.
        rng: The only source of randomness.
        now: The engine's clock, seconds, monotonic.
        deaf: Whether what others sent may wait unread, so that their silence says nothing.
        epoch: Seconds since the Unix epoch at ``now == 0``.
        disk: What is to be written, and what waits for it.
        log: The replicated log.
        commit: Highest index known to be committed.
        leader: Whom this member follows, itself if it leads, or None.
        roster: Who is around.
        history: Which history the log, the term and the vote are of; 16 zero bytes for none.
        begun: Whether the history's first voter set is agreed on. Until then nobody campaigns.
        feeds: Whether a member takes what we replicate.
        safe: Whether the voter set is whole, by the leader's word.
        leaving: Whether this member wants out of the voter set.
        differs: Whether our log has other content than a leader's at the same position.
        round: The newest round of heartbeats that this member has begun, in whatever role and term.
        append_bytes: Bytes of entries in one message, but for a single larger entry; tests make it smaller.
        snapshot: The newest one in the storage.
    """

    def __init__(
        self,
        *,
        me: Member,
        config: ConsensusConfig,
        preference: LeadershipPreference,
        rng: random.Random,
        now: float,
        epoch: float,
        restored: Restored,
        provider: StateSyncProvider,
    ) -> None:
        self.me = me
        self.config = config
        self.preference = preference
        self.rng = rng
        self.now = now
        self.deaf = False
        self.epoch = epoch
        self.provider = provider
        self.disk = Durability(restored.state, restored.record)
        self.log = Log(restored.entries, restored.base)
        self.round = 0
        self.append_bytes = MAX_APPEND
        self.snapshot = restored.snapshot
        self.commit = restored.snapshot.base.last.index if restored.snapshot else Index(0)
        self.leader: Member | None = None
        self.roster = Roster(me, now)
        self.history = restored.record.history
        self.begun = restored.record.founded
        self.feeds: Callable[[Member], bool] = self.roster.bonded.__contains__
        self.leaving = self.differs = self.safe = False
        self.answers: list[Accepted | Readable] = []
        self.events: list[EngineEvent] = []
        self.chunks: list[StoreChunk | SendChunk] = []
        self.restore: Snapshot | None = None

    # --- what it knows

    @property
    def state(self) -> HardState:
        """Term and vote."""
        return self.disk.state

    @property
    def term(self) -> Term:
        """Latest term seen."""
        return self.disk.state.term

    @property
    def voters(self) -> tuple[Member, ...]:
        """The newest voter set in the log."""
        return self.log.voters

    @property
    def has_history(self) -> bool:
        """Whether there is anything to agree on."""
        return self.history != NO_HISTORY

    @property
    def closed(self) -> bool:
        """Whether the log has been ended: only no-ops may follow."""
        return self.log.closed

    @property
    def promotable(self) -> bool:
        """Whether this member may campaign: a voter, and no observer.

        Or it was a voter before the newest set, and does not know that set committed: it may be the only one that has it, and
        then nobody else can be elected.

        Source: thesis, section 4.2.2 and figure 4.6.
        """
        log = self.log
        voter = self.me in log.voters or (log.voters_index > self.commit and self.me in log.voters_before)
        return voter and self.begun and not self.preference.is_observer

    def wall_time(self) -> float:
        """Time for a new entry: this member's clock, but never less than the log's newest."""
        return max(self.log.last_time, self.epoch + self.now, 0.0)

    def election_delay(self) -> float:
        """A fresh random election timeout, in seconds (paper, section 5.2)."""
        config = self.config
        jitter = self.rng.uniform(0, config.election_timeout_jitter)
        return (config.election_timeout + jitter) * max(self.preference.factor, 1.0)

    # --- what it wants done

    def send(self, to: Member, message: Message, *, history: bytes | None = None) -> None:
        """Send now; for messages that promise nothing about this member's storage."""
        if to in self.roster.bonded:
            self.disk.send(Outgoing(to=to, history=history or self.history, message=message))

    def send_when_durable(self, to: Member, message: Message) -> None:
        """Send once all that was changed so far is durable."""
        if to in self.roster.bonded:
            self.disk.send_when_durable(Outgoing(to=to, history=self.history, message=message), self.log)

    def save_vote(self, candidate: Member) -> None:
        """Remember whom this member voted for in the current term."""
        self.disk.save(replace(self.state, vote=candidate))

    def save_term(self, term: Term, vote: Member | None = None) -> None:
        """Enter a newer term."""
        self.disk.save(HardState(term=term, vote=vote))

    def persist(self, entries: Sequence[LogEntry]) -> None:
        """Store entries; what stands in their place, and behind, is replaced.

        Raises:
            SafetyViolation: That would overwrite a committed entry.
        """
        if entries and entries[0].index <= self.commit:
            raise SafetyViolation(
                f"member {self.me} was told to replace entry {entries[0].index}, but {self.commit} entries are "
                "committed: another member lost its log and kept its name, or its disk is corrupt"
            )
        voters = self.log.voters
        self.log.append(entries)
        if self.log.voters != voters:
            self._tell_voters()

    def commit_up_to(self, index: int) -> None:
        """Entries up to ``index`` are committed; never goes back."""
        if index > self.commit:
            self.commit = Index(index)

    def compact(self, snapshot: Snapshot, keep: int) -> None:
        """Take a stored snapshot of our own; the log then begins at most ``keep`` entries before it."""
        self.snapshot = snapshot
        index = self.log.trail(snapshot.base.last.index, keep)
        base = self.log.base_at(index) if index > self.log.base.index else None
        if base is not None:
            self.log.begin_behind(base)
        self.disk.save_snapshot(snapshot, base)

    def install(self, snapshot: Snapshot) -> None:
        """Take a stored snapshot in place of the log up to it (paper, figure 13, rules 6 and 7)."""
        base = snapshot.base
        if base.last.term > self.term:
            self.save_term(base.last.term)
        voters = self.log.voters
        self.log.begin_behind(base)
        self.snapshot = snapshot
        self.disk.save_snapshot(snapshot, base)
        self.commit_up_to(base.last.index)
        if self.log.voters != voters:
            self._tell_voters()

    def drop_log(self) -> None:
        """Begin with an empty log."""
        self.log = Log()
        self.commit = Index(0)
        self.snapshot = self.restore = None
        self.chunks.clear()
        self.disk.clear()

    def follow(self, leader: Member | None) -> None:
        """Note who leads; tells the application of a change."""
        if leader != self.leader:
            self.leader = leader
            self.emit(EventKind.LEADER, member=leader, text=f"leader: {leader or 'none'}")

    def emit(self, kind: EventKind, *, member: Member | None = None, text: str = "") -> None:
        """Tell the application."""
        self.events.append(EngineEvent(kind=kind, term=self.term, member=member, text=text))

    def _tell_voters(self) -> None:
        self.emit(EventKind.VOTERS, text=f"voters: {', '.join(map(str, self.log.voters))}")
