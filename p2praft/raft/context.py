"""What all roles of one member share: its log, its durable state, whom it is bonded with, and what it wants done.

Roles read and change it; only the engine empties it into effects. Nothing here waits, reads a clock or rolls dice
but through what was passed in.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol as Interface

from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import P2PRaftError
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
    Write,
)
from p2praft.raft.log import Log
from p2praft.raft.messages import (
    Base,
    Genesis,
    Index,
    InstallSnapshot,
    LogEntry,
    Member,
    Message,
    Snapshot,
    Standing,
    StateSync,
    Term,
)
from transport import PeerId

MAX_LEFT = 16
"""Histories that were yielded, and that were buried, and are remembered; nobody meets so many."""
NO_HISTORY = bytes(16)


class SafetyViolation(P2PRaftError):
    """A member was asked to overwrite what is committed. It stops rather than disagree with itself."""


class DeclaredLost(P2PRaftError):
    """This member was declared lost for ever, and is back. It stops rather than contradict those who went on."""


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
        state: Term, vote and the rest that must survive a crash.
        log: The replicated log.
        commit: Highest index known to be committed.
        leader: Whom this member follows, itself if it leads, or None.
        bonded: Members that can be sent to, with what they said of themselves.
        left: Histories that it has yielded: what it promised in them is forgotten, so it never takes them up again.
        buried: Histories that it has given up for dead, with its term and vote in them, should one of them go on.
        may_found: Whether this member may begin a history; its surroundings say so, not the protocol.
        leaving: Whether this member wants out of the voter set.
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
        self.state = restored.state
        self.log = Log(restored.entries, restored.base)
        self.snapshot = restored.snapshot
        self.commit = restored.snapshot.base.last.index if restored.snapshot else Index(0)
        self.leader: Member | None = None
        self.bonded: dict[Member, Standing | None] = {}
        self._bonded_since = now
        self._incarnations: dict[PeerId, Member] = {me.peer_id: me}
        self._gone_of: tuple[Member, ...] | None = None
        self._gone: frozenset[Member] = frozenset()
        self._spared_of: tuple[Member, ...] | None = None
        self._spared: frozenset[Member] = frozenset()
        self._spared_from = math.inf
        self._heard_index: tuple[bytes, Index] | None = None
        self.left: deque[bytes] = deque(maxlen=MAX_LEFT)
        self.buried: dict[bytes, tuple[Term, Member | None]] = {}
        self.may_found = True
        self.leaving = False
        self.answers: list[Accepted | Readable] = []
        self.events: list[EngineEvent] = []
        self.reset = False
        self.chunks: list[StoreChunk | SendChunk] = []
        self.restore: Snapshot | None = None
        self._outbox: list[Outgoing] = []
        self._held: deque[tuple[int, Outgoing]] = deque()
        self._state_dirty = False
        self._clear = False
        self._archive = False
        self._base: Base | None = None
        self._snapshot: Snapshot | None = None
        self._issued = 0
        self._durable = 0

    # --- what it knows

    @property
    def term(self) -> Term:
        """Latest term seen."""
        return self.state.term

    @property
    def genesis(self) -> Genesis | None:
        """Of the history this member holds."""
        return self.log.genesis

    @property
    def history(self) -> bytes:
        """Id of the history this member holds; 16 zero bytes if none."""
        genesis = self.log.genesis
        return genesis.history if genesis else NO_HISTORY

    @property
    def founded(self) -> bool:
        """Whether the history's genesis is known to be committed."""
        return self.state.founded

    @property
    def voters(self) -> tuple[Member, ...]:
        """The newest voter set in the log."""
        return self.log.voters

    @property
    def promotable(self) -> bool:
        """Whether this member may campaign: a voter, no observer, in a founded history.

        Or it was a voter before the newest set, and does not know that set committed: it may be the only one that has it, and
        then nobody else can be elected.

        Source: thesis, section 4.2.2 and figure 4.6.
        """
        log = self.log
        voter = self.me in log.voters or (log.voters_index > self.commit and self.me in log.voters_before)
        return voter and self.founded and not self.preference.is_observer

    def is_gone(self, member: Member) -> bool:
        """Whether the member's memory has provably died: volatile, and its peer is back with another incarnation.

        Or an operator has said so (``recover``).
        """
        if self.state.lost and member in self.state.lost:
            return True
        return member.volatile and self._incarnations.get(member.peer_id, member) != member

    def gone(self, members: tuple[Member, ...]) -> frozenset[Member]:
        """Those of ``members`` that are provably gone."""
        if members is not self._gone_of:  # the same voters are asked about at every step
            self._gone_of, self._gone = members, frozenset(filter(self.is_gone, members))
        return self._gone

    def spared(self, voters: tuple[Member, ...]) -> frozenset[Member]:
        """Those of our voters whose agreement a quorum may do without: they are gone, and as far as can be known not replaced.

        Our voter set may be an old one: while we were away the others may have replaced each other, one by one, after each
        had lost its memory, and all that we know are gone then. So what is back in their places must have told us what it
        is, some time must have passed for others to tell more, and nobody may know of newer voters, or of one who does.
        """
        if voters is not self._spared_of:
            gone = frozenset(filter(self.is_gone, voters))
            known = not self._knows_newer_voters() and all(map(self._is_answered_for, gone))
            self._spared_of, self._spared = voters, gone
            self._spared_from = self._bonded_since + self.config.bootstrap_delay if known else math.inf
        if not self._spared or self.now >= self._spared_from:
            return self._spared
        return frozenset(member for member in self._spared if member in self.state.lost)

    def _is_answered_for(self, member: Member) -> bool:
        """Whether somebody has declared a gone member lost, or what is back in its place is bonded and has told what it is."""
        successor = self._incarnations.get(member.peer_id, member)
        return member in self.state.lost or successor == self.me or self.bonded.get(successor) is not None

    def _knows_newer_voters(self) -> bool:
        return any(
            max(standing.voters_index, standing.heard_index) > self.log.voters_index
            for standing in self.bonded.values()
            if standing is not None and (standing.genesis is None or standing.genesis.history == self.history)
        )

    @property
    def heard_index(self) -> Index:
        """The highest index of a voter set that a bonded member told of itself; of our history, or of any if we have none."""
        history = self.history
        if self._heard_index is None or self._heard_index[0] != history:
            told = (
                standing.voters_index
                for standing in self.bonded.values()
                if standing is not None
                and standing.genesis is not None
                and history in (NO_HISTORY, standing.genesis.history)
            )
            self._heard_index = history, max(told, default=Index(0))
        return self._heard_index[1]

    def meet(self, member: Member) -> None:
        """It can be sent to from now on, and is its peer's newest incarnation."""
        self.bonded[member] = None
        self._bonded_since = self.now
        self._incarnations[member.peer_id] = member
        self._recount()

    def hear(self, member: Member, standing: Standing) -> None:
        """It says what it is."""
        self.bonded[member] = standing
        self._spared_of = self._heard_index = None

    def part(self, member: Member) -> None:
        """It cannot be sent to any more."""
        del self.bonded[member]
        self.forget_messages(member)
        self._spared_of = self._heard_index = None

    def _recount(self) -> None:
        self._gone_of = self._spared_of = self._heard_index = None

    def wall_time(self) -> float:
        """Time for a new entry: this member's clock, but never less than the log's newest."""
        return max(self.log.last_time, self.epoch + self.now)

    def election_delay(self) -> float:
        """A fresh random election timeout, in seconds (paper, section 5.2)."""
        config = self.config
        jitter = self.rng.uniform(0, config.election_timeout_jitter)
        return (config.election_timeout + jitter) * max(self.preference.factor, 1.0)

    # --- what it wants done

    def send(self, to: Member, message: Message, *, history: bytes | None = None) -> None:
        """Send now; for messages that promise nothing about this member's storage."""
        if to in self.bonded:
            self._outbox.append(Outgoing(to=to, history=history or self.history, message=message))

    def send_when_durable(self, to: Member, message: Message) -> None:
        """Send once all that was changed so far is durable."""
        outgoing = Outgoing(to=to, history=self.history, message=message)
        if to not in self.bonded:
            return
        if self.is_durable(serial := self.pending_serial()):
            self._outbox.append(outgoing)
        else:
            self._held.append((serial, outgoing))

    def save_vote(self, candidate: Member) -> None:
        """Remember whom this member voted for in the current term."""
        self._save(replace(self.state, vote=candidate))

    def save_term(self, term: Term, vote: Member | None = None) -> None:
        """Enter a newer term."""
        self._save(replace(self.state, term=term, vote=vote))

    def save_founded(self) -> None:
        """Remember that the genesis is committed."""
        if not self.state.founded:
            self._save(replace(self.state, founded=True))
            self.emit(EventKind.FOUNDED, text=f"history {self.history.hex()[:8]} is founded")

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

    def found(self, entry: LogEntry) -> None:
        """Start a history by its genesis, as its writer."""
        self._save(HardState(term=entry.term, vote=self.me, attempt=self.state.attempt + 1, lost=self.state.lost))
        self.persist((entry,))

    def drop_history(self, *, take_back: bool = False, archive: bool = False) -> None:
        """Become a member without history.

        Args:
            take_back: As the writer of its genesis; the number of the attempt then says so to the founders.
            archive: Keep the log aside instead of forgetting it.
        """
        if self.commit or archive:
            self.reset = True
        self.log = Log()
        self.commit = Index(0)
        self.snapshot = self._snapshot = self._base = self.restore = None
        self.chunks.clear()
        self._clear = True
        self._archive = self._archive or archive
        self._held.clear()  # promises about a log that is no more
        self._save(HardState(attempt=self.state.attempt + take_back, lost=self.state.lost))

    def leave_history(self) -> None:
        """Never take up the present history again."""
        self.left.append(self.history)

    def bury_history(self) -> None:
        """Remember what was promised in the present history."""
        self.buried[self.history] = (self.term, self.state.vote)
        if len(self.buried) > MAX_LEFT:
            oldest = next(iter(self.buried))
            del self.buried[oldest]
            self.left.append(oldest)

    def promised_term(self, history: bytes) -> Term:
        """Below which we take nothing of a history that we do not hold; 0 unless we have buried it."""
        return self.buried[history][0] if history in self.buried else Term(0)

    def take_up(self, history: bytes) -> None:
        """Hold a history, from now on or already; if it was buried, with what was promised in it."""
        if history in self.buried:
            term, vote = self.buried.pop(history)
            self._save(replace(self.state, term=term, vote=vote))

    def commit_up_to(self, index: int) -> None:
        """Entries up to ``index`` are committed; never goes back."""
        if index > self.commit:
            self.commit = Index(index)
            self.save_founded()

    def compact(self, snapshot: Snapshot, keep: int) -> None:
        """Take a stored snapshot of our own; the log then begins at most ``keep`` entries before it."""
        self.snapshot = self._snapshot = snapshot
        index = self.log.trail(snapshot.base.last.index, keep)
        if index > self.log.base.index:
            self._base = self.log.base_at(index)
            self.log.begin_behind(self._base)

    def install(self, snapshot: Snapshot) -> None:
        """Take a stored snapshot in place of the log up to it (paper, figure 13, rules 6 and 7)."""
        base = snapshot.base
        if base.last.term > self.term:
            self.save_term(base.last.term)
        voters = self.log.voters
        self.log.begin_behind(base)
        self.snapshot = self._snapshot = snapshot
        self._base = base
        self.commit_up_to(base.last.index)
        if self.log.voters != voters:
            self._tell_voters()

    def declare_lost(self, members: Sequence[Member]) -> None:
        """Count members as gone for ever, on an operator's word; durable, and told to everybody.

        Raises:
            DeclaredLost: We are one of them.
        """
        if self.me in members:
            raise DeclaredLost(
                f"member {self.me} was declared lost for ever by `recover`, and the others went on without it. Its data is "
                "not trusted any more: move its data directory away, and it joins anew"
            )
        news = tuple(member for member in members if member not in self.state.lost)
        if news:
            self._save(replace(self.state, lost=tuple(sorted({*self.state.lost, *news}))))
            self.emit(EventKind.LOST, text=f"declared lost for ever: {', '.join(map(str, news))}")

    def follow(self, leader: Member | None) -> None:
        """Note who leads; tells the application of a change."""
        if leader != self.leader:
            self.leader = leader
            self.emit(EventKind.LEADER, member=leader, text=f"leader: {leader or 'none'}")

    def emit(self, kind: EventKind, *, member: Member | None = None, text: str = "") -> None:
        """Tell the application."""
        self.events.append(EngineEvent(kind=kind, term=self.term, member=member, text=text))

    # --- durability

    @property
    def settled(self) -> bool:
        """Whether all that was changed so far is in a write that was taken."""
        return self.pending_serial() == self._issued

    def pending_serial(self) -> int:
        """Serial of the write that will hold all that was changed so far."""
        dirty = self._state_dirty or self._clear or self._snapshot is not None or self.log.has_unwritten
        return self._issued + dirty

    def is_durable(self, serial: int) -> bool:
        """Whether the write ``serial``, and all before it, are on disk."""
        return serial <= self._durable

    def persisted(self, serial: int) -> None:
        """The write ``serial``, and all before it, are durable."""
        self._durable = max(self._durable, serial)
        self.log.persisted(serial)
        while self._held and self._held[0][0] <= serial:
            self._outbox.append(self._held.popleft()[1])

    def take_write(self) -> Write | None:
        """What is to be made durable, if anything."""
        if self.settled:
            return None
        self._issued += 1
        state = self.state if self._state_dirty else None
        replace_from, entries = self.log.take_unwritten(self._issued)
        write = Write(
            serial=self._issued,
            state=state,
            replace_from=replace_from,
            entries=entries,
            clear=self._clear,
            archive=self._archive,
            snapshot=self._snapshot,
            base=self._base,
        )
        self._state_dirty = self._clear = self._archive = False
        self._snapshot = self._base = None
        return write

    def take_messages(self) -> list[Outgoing]:
        """What may leave now."""
        messages, self._outbox = self._outbox, []
        return [outgoing for outgoing in messages if outgoing.to in self.bonded]

    def forget_messages(self, member: Member) -> None:
        """The bond is gone: what was held for it will not be sent."""
        self._held = deque(item for item in self._held if item[1].to != member)

    def _tell_voters(self) -> None:
        self.emit(EventKind.VOTERS, text=f"voters: {', '.join(map(str, self.log.voters))}")

    def _save(self, state: HardState) -> None:
        if state != self.state:
            self.state = state
            self._recount()
            self._state_dirty = True
