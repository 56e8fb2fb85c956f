"""The engine: one member of one group as a value that changes by inputs and answers with effects.

It owns no clock, socket, task or dice. Inputs are messages, bonds, time and finished writes; :meth:`Engine.take_effects`
returns what is to be done. The same inputs in the same order give the same effects, so a failure replays from its seed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.raft import role
from p2praft.raft.base_role import Role
from p2praft.raft.candidate import Candidate
from p2praft.raft.catchup import CatchUp, well_formed
from p2praft.raft.context import Context
from p2praft.raft.effects import Accepted, Effects, EventKind, Restored
from p2praft.raft.entries import Base, Proposal, Snapshot
from p2praft.raft.follower import Follower
from p2praft.raft.histories.entries import Branch, Past
from p2praft.raft.histories.life import Histories
from p2praft.raft.histories.messages import HISTORY_MESSAGES
from p2praft.raft.histories.settings import differences
from p2praft.raft.histories.states import State
from p2praft.raft.leader import Leader
from p2praft.raft.messages import AppendEntries, Message, Propose, ProposeResponse, ReadIndex
from p2praft.raft.reads import answer as answer_read
from p2praft.raft.status import Status
from p2praft.raft.types import Cursor, Index, Member, Term

logger = logging.getLogger("p2praft.raft")


class Engine:
    """Raft for one member, with histories, voter stewardship and linearizable reads.

    Args:
        me: This member.
        config: The group's settings, as this member would found it; those of the history it holds take their place.
        preference: Whether and how eagerly it campaigns.
        rng: Its dice.
        now: Its clock at the start, seconds, monotonic; later inputs bring theirs.
        epoch: Seconds since the Unix epoch at ``now == 0``; only stamps entries, decides nothing.
        restored: What the storage holds. If it holds a snapshot, the shell begins with that one's state.
        write_through: The shell performs a write before all other effects, at once: it then counts as durable from
            :meth:`take_effects` on, and :meth:`persisted` is not called.
        ask_operator: Whether a leader waits for the operator's word before its history ends in favour of a higher one.
        machine: Version of the state machine.
        start: Which start of the storage this is; 0 if that is not counted.

    Attributes:
        trail: Entries that stay before a snapshot; ``snapshot_every`` if None. Tests make it smaller.
    """

    def __init__(
        self,
        *,
        me: Member,
        config: ConsensusConfig,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        rng: random.Random,
        now: float,
        epoch: float = 0.0,
        restored: Restored | None = None,
        write_through: bool = False,
        ask_operator: bool = False,
        machine: int = 1,
        start: int = 0,
    ) -> None:
        self._write_through = write_through
        self._own_config = config
        self.catch_up = CatchUp()
        self.ctx = Context(
            me=me,
            config=config,
            preference=preference,
            rng=rng,
            now=now,
            epoch=epoch,
            restored=restored or Restored(),
            provider=self.catch_up,
        )
        self._delivered = self.ctx.commit
        self.trail: int | None = None
        self.histories = Histories(self.ctx, ask_operator=ask_operator, machine=machine, start=start)
        self._holding = self.histories.holding

    # --- what it is

    @property
    def role(self) -> Role:
        """What it is in its term."""
        return self._holding.role

    @role.setter
    def role(self, new: Role) -> None:
        self._holding.role = new

    @property
    def me(self) -> Member:
        """This member; it becomes another when it gives up what it promised."""
        return self.ctx.me

    @property
    def config(self) -> ConsensusConfig:
        """The group's settings."""
        return self.ctx.config

    @property
    def term(self) -> Term:
        """Latest term seen."""
        return self.ctx.term

    @property
    def commit(self) -> Index:
        """Highest index known to be committed."""
        return self.ctx.commit

    @property
    def last(self) -> Cursor:
        """Position of the newest entry."""
        return self.ctx.log.last

    @property
    def leader(self) -> Member | None:
        """Who leads, as far as this member knows; None before the history has begun."""
        return self.ctx.leader if self.ctx.begun else None

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return isinstance(self._holding.role, Leader)

    @property
    def voters(self) -> tuple[Member, ...]:
        """The newest voter set in the log."""
        return self.ctx.voters

    @property
    def safe(self) -> bool:
        """Whether every voter is live, caught up and not over, by the leader's last word."""
        return self.ctx.safe and self.ctx.leader is not None

    @property
    def has_committed_voters(self) -> bool:
        """Whether the newest voter set is known to be committed."""
        return self.ctx.commit >= self.ctx.log.voters_index

    @property
    def log_time(self) -> float:
        """Time of the newest entry, seconds since the Unix epoch; 0 if there is none."""
        return self.ctx.log.last_time

    @property
    def log_entries(self) -> int:
        """Entries in the log that are not compacted."""
        return self.ctx.log.last.index - self.ctx.log.base.index

    @property
    def history(self) -> bytes:
        """Id of the history that it holds; 16 zero bytes if none."""
        return self.ctx.history

    @property
    def state(self) -> State:
        """What it holds; see :mod:`p2praft.raft.histories.states`."""
        return self.histories.state

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot in the storage."""
        return self.ctx.snapshot

    @property
    def settled(self) -> bool:
        """Whether the effects taken so far hold all that is to be written."""
        return self.ctx.disk.is_settled(self.ctx.log)

    @property
    def deadline(self) -> float:
        """When :meth:`tick` has something to do, on the engine's clock."""
        return min(self._holding.role.deadline, self.histories.deadline, self.catch_up.deadline)

    @property
    def reaches_leader(self) -> bool:
        """Whether there is a leader that a proposal can be handed to."""
        return isinstance(self._holding.role, Leader) or self._leader_at_hand is not None

    def status(self) -> Status:
        """A picture of it all."""
        ctx, role, histories = self.ctx, self.role, self.histories
        progress = role.replication.progress if isinstance(role, Leader) else {}
        past = ctx.log.past
        settings = past.settings if past is not None else None
        return Status(
            me=ctx.me,
            state=histories.state,
            history=ctx.history,
            genesis=histories.genesis,
            role=role.name,
            term=ctx.term,
            commit=ctx.commit,
            last=ctx.log.last,
            leader=self.leader,
            voters=ctx.voters,
            voters_committed=self.has_committed_voters,
            over=ctx.roster.over(ctx.voters),
            safe=self.safe,
            waits=histories.waits,
            differs=ctx.differs,
            factors={member: standing.factor for member, standing in ctx.roster.bonded.items() if standing},
            matches={member: int(known.match) for member, known in progress.items()},
            snapshot=ctx.snapshot,
            measure=past.measure if past is not None else None,
            met=histories.met,
            settings_differ=differences(self._own_config, settings) if settings is not None else (),
        )

    # --- inputs

    def tick(self, now: float, *, deaf: bool = False) -> None:
        """Let time pass.

        Args:
            now: Seconds, monotonic.
            deaf: What has come since the last call may wait unread: heartbeats are sent, but nobody's silence counts.
        """
        self.ctx.now = now
        self.ctx.deaf = deaf
        holding = self._holding
        holding.role = role.tick(holding.role, self.ctx)
        if not deaf:
            self.catch_up.tick(self.ctx)
            self.histories.tick()

    def bond_up(self, member: Member, now: float) -> None:
        """``member`` can be sent to from now on; another incarnation of its peer cannot any more."""
        ctx = self.ctx
        ctx.now = now
        for other in [m for m in ctx.roster.bonded if m.peer_id == member.peer_id]:
            self.bond_down(other, now)
        ctx.roster.meet(member, now)
        self.role.on_bond_up(member, ctx)
        self.histories.on_bond_up()

    def bond_down(self, member: Member, now: float) -> None:
        """``member`` cannot be sent to any more."""
        ctx = self.ctx
        ctx.now = now
        if member not in ctx.roster.bonded:
            return
        ctx.roster.part(member)
        ctx.disk.forget(member)
        self.role.on_bond_lost(member, ctx)
        self.catch_up.on_bond_lost(member, ctx)
        self.histories.on_bond_down()

    def ended(self, member: Member, now: float) -> None:
        """A bonded member says of itself that its incarnation ends now: its memory goes with its process."""
        self.ctx.now = now
        if member in self.ctx.roster.bonded:
            self.ctx.roster.end(member)
            self.histories.on_bond_down()

    def receive(self, message: Message, sender: Member, now: float, *, history: bytes) -> None:
        """Handle a message of a bonded member; one of anybody else, or of a history that is not ours, changes nothing."""
        ctx = self.ctx
        ctx.now = now
        if sender not in ctx.roster.bonded:
            return
        if type(message) in HISTORY_MESSAGES:
            self.histories.receive(message, sender)  # type: ignore[arg-type]
        elif ctx.roster.is_over(sender):
            return
        elif isinstance(message, AppendEntries) and not well_formed(message.prev, message.entries, message.term):
            logger.warning("%s dropped malformed entries from %s", ctx.me, sender)
        elif (history == ctx.history and ctx.has_history) or self.histories.adopts(message, sender, history):
            holding = self._holding
            holding.role = role.receive(holding.role, message, sender, ctx)
        elif isinstance(message, Propose):
            ctx.send(sender, ProposeResponse(request=message.request, index=Index(0)))
        elif isinstance(message, ReadIndex):
            answer_read(sender, message.request, Index(0), ctx)

    def sign_of_life(self, member: Member, now: float, *, receiving: bool) -> None:
        """``member`` is there, although none of its messages may have come whole for a while.

        A long message on a slow link holds up whatever is behind it, heartbeats and answers too. If that cost the leader its
        place, the next one would begin to send the same message again, and so on for ever.

        Args:
            member: Whose peer something was just heard of.
            now: The clock.
            receiving: Whether a part of a message of the member's has come, and more of it comes.
        """
        self.ctx.now = now
        self.role.on_sign_of_life(member, self.ctx, receiving=receiving)

    def persisted(self, serial: int, now: float) -> None:
        """The write ``serial``, and all before it, are durable."""
        self.ctx.now = now
        self.ctx.disk.persisted(serial)
        self.ctx.log.persisted(serial)
        if isinstance(self.role, Candidate):
            self.role = role.proceed(self.role, self.role.outcome(self.ctx), self.ctx)

    def compact(self, snapshot: Snapshot, now: float) -> None:
        """A snapshot of our own state is stored: the log may begin behind it."""
        ctx = self.ctx
        ctx.now = now
        base, newest = snapshot.base, ctx.snapshot
        ours = base.last.index <= self._delivered and ctx.log.matches(base.last, base.digest) and ctx.has_history
        if ours and not ctx.closed and (newest is None or newest.base.last.index < base.last.index):
            ctx.compact(snapshot, ctx.config.snapshot_every if self.trail is None else self.trail)
            ctx.emit(EventKind.SNAPSHOT, text=f"snapshot at {base.last}, {snapshot.chunks} chunks")

    def chunk_stored(self, fetch: int, number: int, now: float) -> None:
        """A fetched chunk is in the storage, durably."""
        self.ctx.now = now
        self.catch_up.chunk_stored(fetch, number, self.ctx)

    def install(self, snapshot: Snapshot, now: float) -> bool:
        """A fetched snapshot is stored and decoded; take it in place of the log up to it.

        Returns:
            Whether the state machine is now to be restored from it; False if it came too late to be of use.
        """
        ctx = self.ctx
        ctx.now = now
        if snapshot.base.last.index <= ctx.commit or not ctx.has_history or ctx.history != self.catch_up.history:
            self.catch_up.stop()
            return False
        ctx.install(snapshot)
        self._delivered = ctx.commit
        self.catch_up.installed(ctx)
        if isinstance(self.role, Follower):
            self.role.restart_election_timer(ctx)
        ctx.emit(EventKind.SNAPSHOT, text=f"took a snapshot at {snapshot.base.last} from others")
        return True

    def base_at(self, index: int) -> Base:
        """The position and the voter set of a snapshot of everything up to ``index``, which was delivered."""
        return self.ctx.log.base_at(index)

    def past_at(self, index: int) -> Past | None:
        """What the log up to ``index`` says of its history; None for an empty log, and for what was compacted."""
        return self.ctx.log.past_at(index) if index >= self.ctx.log.base.index else None

    def holds(self, branch: Branch) -> bool | None:
        """Whether the log has that very position; None if it was compacted there."""
        log = self.ctx.log
        if branch.at.index < log.base.index:
            return None
        return log.term_at(branch.at.index) == branch.at.term and log.matches(branch.at, branch.digest)

    def propose(self, request: int, payload: Proposal) -> bool:
        """Have a payload appended, here or by the leader; the answer comes as :class:`Accepted`.

        Returns:
            Whether it was handed on; False if no leader is known, and then no answer comes.
        """
        ctx = self.ctx
        leading = self._holding.role
        if isinstance(leading, Leader):
            ctx.answers.append(Accepted(request=request, index=leading.propose(payload, ctx.me.peer_id, ctx)))
            return True
        if (leader := self._leader_at_hand) is None:
            return False
        ctx.send(leader, Propose(request=request, payload=payload))
        return True

    def read(self, request: int) -> bool:
        """Ask for an index for a strong read; the answer comes as ``Readable``. False as for :meth:`propose`."""
        ctx = self.ctx
        if isinstance(self.role, Leader):
            if not self.role.read(ctx.me, request, ctx):
                answer_read(ctx.me, request, Index(0), ctx)
            return True
        if (leader := self._leader_at_hand) is None or ctx.differs:
            return False
        ctx.send(leader, ReadIndex(request=request))
        return True

    def transfer_leadership(self, to: Member | None, now: float) -> bool:
        """Hand over to ``to``, or to the best voter; False if we do not lead or nobody fits."""
        self.ctx.now = now
        return isinstance(self.role, Leader) and self.role.transfer(to, self.ctx)

    def leave(self, *, leaving: bool = True) -> None:
        """Ask to be no voter any more, or take that back."""
        self.ctx.leaving = leaving

    def allow_founding(self, *, allowed: bool, now: float) -> None:
        """Whether the shell has no reason against this member's founding an empty history."""
        self.ctx.now = now
        self.histories.allow_founding(allowed=allowed)

    def recover(self, lost: Sequence[Member], now: float) -> None:
        """Count ``lost`` as gone for ever, on an operator's word."""
        self.ctx.now = now
        self.histories.declare_lost(lost)

    def abandon(self, now: float) -> None:
        """Give up the history that this member holds, on an operator's word."""
        self.ctx.now = now
        self.histories.abandon()

    def allow_merge(self, now: float) -> None:
        """Let the history end in favour of a higher one, on an operator's word."""
        self.ctx.now = now
        self.histories.allow_merge()

    # --- outputs

    def take_effects(self) -> Effects:
        """What is to be done because of the inputs since the last call."""
        ctx, histories, holding = self.ctx, self.histories, self._holding
        histories.perform()
        write = ctx.disk.take_write(ctx.log) if self._write_through else None
        if write is not None:
            self.persisted(write.serial, ctx.now)
        before, commit = holding.role, ctx.commit
        holding.role = role.proceed(before, before.flush(ctx), ctx)
        if holding.role is not before or ctx.commit != commit:
            histories.perform()
        renewed = ctx.me if histories.take_renewed() else None
        if holding.reset:
            self._delivered = Index(0)
        committed = ctx.log.between(self._delivered + 1, ctx.commit)
        self._delivered = ctx.commit
        bonded = ctx.roster.bonded
        effects = Effects(
            renewed=renewed,
            messages=[outgoing for outgoing in ctx.disk.take_messages() if outgoing.to in bonded],
            write=write if self._write_through else ctx.disk.take_write(ctx.log),
            end=holding.end,
            restart=renewed is not None and holding.revives is not None,
            reset=holding.reset,
            committed=committed,
            answers=ctx.answers,
            events=ctx.events,
            chunks=ctx.chunks,
            restore=ctx.restore,
        )
        ctx.answers, ctx.events, ctx.chunks = [], [], []
        holding.end, holding.reset, ctx.restore = None, False, None
        return effects

    @property
    def _leader_at_hand(self) -> Member | None:
        """Another that leads and can be sent to."""
        leader = self.ctx.leader
        return leader if leader in self.ctx.roster.bonded and self.ctx.begun else None
