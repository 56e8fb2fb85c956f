"""The engine: one member of one group as a value that changes by inputs and answers with effects.

It owns no clock, socket, task or dice. Inputs are messages, bonds, time and finished writes; :meth:`Engine.take_effects`
returns what is to be done. The same inputs in the same order give the same effects, so a failure replays from its seed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.raft import founding, role
from p2praft.raft.candidate import Candidate
from p2praft.raft.catchup import CatchUp, well_formed
from p2praft.raft.context import NO_HISTORY, Context
from p2praft.raft.effects import Accepted, Effects, EventKind, Restored
from p2praft.raft.follower import Follower
from p2praft.raft.leader import Leader
from p2praft.raft.messages import (
    START,
    AppendEntries,
    AppendEntriesResponse,
    Base,
    Commands,
    Cursor,
    Index,
    InstallSnapshot,
    Member,
    Message,
    OpenSession,
    Propose,
    ProposeResponse,
    ReadIndex,
    ReadIndexResponse,
    Snapshot,
    Standing,
    StateSync,
    Term,
    Vote,
)
from p2praft.raft.reads import answer as answer_read

logger = logging.getLogger("p2praft.raft")

STANDING_EVERY = 4
"""Election timeouts after which a member repeats its standing to everybody."""


class Engine:
    """Raft for one member, with founding, voter stewardship and linearizable reads.

    Args:
        me: This member.
        config: The group's settings.
        preference: Whether and how eagerly it campaigns.
        rng: Its dice.
        now: Its clock at the start, seconds, monotonic; later inputs bring theirs.
        epoch: Seconds since the Unix epoch at ``now == 0``; only stamps entries, decides nothing.
        restored: What the storage holds. If it holds a snapshot, the shell begins with that one's state.
        write_through: The shell performs a write before all other effects, at once: it then counts as durable from
            :meth:`take_effects` on, and :meth:`persisted` is not called.
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
    ) -> None:
        restored = restored or Restored()
        self._write_through = write_through
        self.catch_up = CatchUp()
        self.ctx = Context(
            me=me,
            config=config,
            preference=preference,
            rng=rng,
            now=now,
            epoch=epoch,
            restored=restored,
            provider=self.catch_up,
        )
        self._delivered = self.ctx.commit
        self._told: Standing | None = None
        self._told_of: tuple[object, ...] = ()
        self._tell_again_at = now
        self._reconsider = True
        self._found_after = now + config.bootstrap_delay
        self._look_at: float | None = self._found_after
        self._waited_for: set[bytes] = set()
        genesis = restored.genesis
        self.role: role.Role = Follower(None, self.ctx)
        if genesis and not restored.state.founded and genesis.writer == me:
            # Nobody else may lead term 1: its writer goes on where it was.
            self.role = Leader(self.ctx)

    # --- what it is

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
        """Who leads, as far as this member knows."""
        return self.ctx.leader

    @property
    def is_leader(self) -> bool:
        """Whether this member leads a founded history."""
        return isinstance(self.role, Leader) and self.ctx.founded

    @property
    def voters(self) -> tuple[Member, ...]:
        """The newest voter set in the log."""
        return self.ctx.voters

    @property
    def settled(self) -> bool:
        """Whether the effects taken so far hold all that is to be written."""
        return self.ctx.settled

    @property
    def deadline(self) -> float:
        """When :meth:`tick` has something to do, on the engine's clock."""
        deadline = min(self.role.deadline, self._tell_again_at, self.catch_up.deadline)
        return deadline if self._look_at is None else min(deadline, self._look_at)

    # --- inputs

    def tick(self, now: float, *, deaf: bool = False) -> None:
        """Let time pass.

        Args:
            now: Seconds, monotonic.
            deaf: What has come since the last call may wait unread: heartbeats are sent, but nobody's silence counts.
        """
        self.ctx.now = now
        self.ctx.deaf = deaf
        self.role = role.tick(self.role, self.ctx)
        if not deaf:
            self.catch_up.tick(self.ctx)
        if now >= self._tell_again_at:
            # A standing that got lost must not hold anything up for ever: a full link drops what is sent on it.
            self._tell_again_at = now + STANDING_EVERY * self.ctx.config.election_timeout
            self._told = None
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            self._reconsider = True

    def bond_up(self, member: Member, now: float) -> None:
        """``member`` can be sent to from now on. Another incarnation of its peer is thereby gone."""
        ctx = self.ctx
        ctx.now = now
        for other in [m for m in ctx.bonded if m.peer_id == member.peer_id]:
            self.bond_down(other, now)
        ctx.meet(member)
        if isinstance(self.role, Leader):
            self.role.on_bond_up(member, ctx)
        self._told = None  # say it to the newcomer too, once it is durable
        self._reconsider = True

    def bond_down(self, member: Member, now: float) -> None:
        """``member`` cannot be sent to any more."""
        ctx = self.ctx
        ctx.now = now
        if member not in ctx.bonded:
            return
        ctx.part(member)
        self.role.on_bond_lost(member, ctx)
        self.catch_up.on_bond_lost(member, ctx)
        self._reconsider = True

    def receive(self, message: Message, sender: Member, now: float, *, history: bytes) -> None:
        """Handle a message of a bonded member; one of anybody else, or of another history, changes nothing."""
        ctx = self.ctx
        ctx.now = now
        if sender not in ctx.bonded or (ctx.is_gone(sender) and not isinstance(message, Standing)):
            return
        if isinstance(message, Standing):
            ctx.hear(sender, message)
            if message.genesis is not None and message.genesis.history == ctx.history:
                ctx.declare_lost(message.lost)
                if message.founded:
                    ctx.save_founded()
            self._reconsider = True
        elif isinstance(message, ProposeResponse):
            ctx.answers.append(Accepted(request=message.request, index=message.index))
        elif isinstance(message, ReadIndexResponse):
            self._answer_own_read(message, history)
        elif isinstance(message, Propose):
            index = self._append(message.payload, sender) if history == ctx.history else Index(0)
            ctx.send(sender, ProposeResponse(request=message.request, index=index))
        elif isinstance(message, ReadIndex):
            self._read(sender, message.request, history)
        elif isinstance(message, AppendEntries) and not well_formed(
            message.prev, message.entries, message.term, history
        ):
            logger.warning("%s dropped malformed entries from %s", ctx.me, sender)
        elif history == ctx.history != NO_HISTORY or self._adopts(message, sender, history):
            self.role = role.receive(self.role, message, sender, ctx)

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
        if isinstance(self.role, Leader):
            self.role.on_sign_of_life(member, self.ctx, receiving=receiving)
        elif isinstance(self.role, Follower) and receiving and member == self.ctx.leader:
            self.role.on_sign_of_life(self.ctx)

    def persisted(self, serial: int, now: float) -> None:
        """The write ``serial``, and all before it, are durable."""
        self.ctx.now = now
        self.ctx.persisted(serial)
        if isinstance(self.role, Candidate):
            self.role = role.proceed(self.role, self.role.outcome(self.ctx), self.ctx)

    def compact(self, snapshot: Snapshot, now: float) -> None:
        """A snapshot of our own state is stored: the log may begin behind it."""
        self.ctx.now = now
        index, newest = snapshot.base.last.index, self.ctx.snapshot
        ours = self.ctx.history == snapshot.base.genesis.history and index <= self._delivered
        if ours and (newest is None or newest.base.last.index < index):
            self.ctx.compact(snapshot, self.ctx.config.snapshot_every)
            self.ctx.emit(EventKind.SNAPSHOT, text=f"snapshot at {snapshot.base.last}, {snapshot.chunks} chunks")

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
        history = snapshot.base.genesis.history
        if snapshot.base.last.index <= ctx.commit or ctx.history not in (NO_HISTORY, history) or history in ctx.left:
            self.catch_up.stop()
            return False
        ctx.take_up(history)
        ctx.install(snapshot)
        self._delivered = ctx.commit
        self.catch_up.installed(ctx)
        if isinstance(self.role, Follower):
            self.role.restart_election_timer(ctx)
        ctx.emit(EventKind.SNAPSHOT, text=f"took a snapshot at {snapshot.base.last} from others")
        self._reconsider = True
        return True

    def base_at(self, index: int) -> Base:
        """The position and the voter set of a snapshot of everything up to ``index``, which was delivered."""
        return self.ctx.log.base_at(index)

    def recover(self, lost: Sequence[Member], now: float) -> None:
        """Count ``lost`` as gone for ever, on an operator's word. Never bring back what was declared lost."""
        self.ctx.now = now
        self.ctx.declare_lost(lost)
        self._reconsider = True

    def may_found(self, allowed: bool, now: float) -> None:
        """Whether this member may begin a history, by what its node knows of the network; it may until told otherwise."""
        self.ctx.now = now
        if allowed != self.ctx.may_found:
            self.ctx.may_found = allowed
            self._reconsider = True

    def propose(self, request: int, payload: OpenSession | Commands) -> bool:
        """Have a payload appended, here or by the leader; the answer comes as :class:`Accepted`.

        Returns:
            Whether it was handed on; False if no leader is known, and then no answer comes.
        """
        ctx = self.ctx
        if isinstance(self.role, Leader):
            index = self._append(payload, ctx.me)
            ctx.answers.append(Accepted(request=request, index=index))
            return True
        if (leader := self._leader_at_hand) is None:
            return False
        ctx.send(leader, Propose(request=request, payload=payload))
        return True

    def read(self, request: int) -> bool:
        """Ask for an index for a strong read; the answer comes as ``Readable``. False as for :meth:`propose`."""
        ctx = self.ctx
        if isinstance(self.role, Leader):
            self._read(ctx.me, request, ctx.history)
            return True
        if (leader := self._leader_at_hand) is None:
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

    @property
    def reaches_leader(self) -> bool:
        """Whether there is a leader that a proposal can be handed to."""
        return isinstance(self.role, Leader) or self._leader_at_hand is not None

    # --- outputs

    def take_effects(self) -> Effects:
        """What is to be done because of the inputs since the last call."""
        ctx = self.ctx
        if self._reconsider:
            self._reconsider = False
            self._consider_history()
        write = ctx.take_write() if self._write_through else None
        if write is not None:
            self.persisted(write.serial, ctx.now)
        if isinstance(self.role, Leader):
            self.role = role.proceed(self.role, self.role.flush(ctx), ctx)
        self._tell_standing()
        if ctx.reset:
            self._delivered = Index(0)
        committed = ctx.log.between(self._delivered + 1, ctx.commit)
        self._delivered = ctx.commit
        effects = Effects(
            messages=ctx.take_messages(),
            write=write if self._write_through else ctx.take_write(),
            reset=ctx.reset,
            committed=committed,
            answers=ctx.answers,
            events=ctx.events,
            chunks=ctx.chunks,
            restore=ctx.restore,
        )
        ctx.answers, ctx.events, ctx.chunks = [], [], []
        ctx.reset, ctx.restore = False, None
        return effects

    # --- inner workings

    @property
    def _leader_at_hand(self) -> Member | None:
        """Another that leads and can be sent to."""
        leader = self.ctx.leader
        return leader if leader in self.ctx.bonded else None

    def _tell_standing(self) -> None:
        ctx = self.ctx
        gone = ctx.gone(ctx.genesis.founders) if ctx.genesis else ()
        of = (ctx.state, ctx.genesis, ctx.snapshot, ctx.leaving, gone, ctx.log.voters_index, ctx.heard_index)
        if self._told is not None and of == self._told_of:
            return
        standing, self._told_of = founding.own_standing(ctx), of
        if standing != self._told:
            self._told = standing
            for member in list(ctx.bonded):
                ctx.send_when_durable(member, standing)

    def _append(self, payload: OpenSession | Commands, proposer: Member) -> Index:
        if not isinstance(self.role, Leader):
            return Index(0)
        return self.role.propose(payload, proposer.peer_id, self.ctx)

    def _read(self, origin: Member, request: int, history: bytes) -> None:
        ctx = self.ctx
        if not (
            isinstance(self.role, Leader)
            and ctx.founded
            and history == ctx.history
            and self.role.reads.add(origin, request)
        ):
            answer_read(origin, request, Index(0), ctx)

    def _answer_own_read(self, response: ReadIndexResponse, history: bytes) -> None:
        # An index of another history says nothing about ours.
        index = response.index if history == self.ctx.history else Index(0)
        answer_read(self.ctx.me, response.request, index, self.ctx)

    def _adopts(self, message: Message, sender: Member, history: bytes) -> bool:
        """Whether a member without history takes up this one; if it lacks the beginning, it says so."""
        ctx = self.ctx
        if ctx.genesis is not None or history in ctx.left:
            return False
        if isinstance(message, StateSync):
            return history == self.catch_up.history
        if not isinstance(message, AppendEntries | InstallSnapshot):
            return False
        if isinstance(message, InstallSnapshot):
            self.catch_up.on_install_snapshot(message, sender, history, ctx)
        elif message.term >= ctx.promised_term(history) and founding.may_adopt(message, sender, history, ctx):
            ctx.take_up(history)
            return True
        if isinstance(message, InstallSnapshot) or message.prev != START or not message.entries:
            refusal = AppendEntriesResponse(
                term=max(message.term, ctx.promised_term(history)),
                vote=Vote.ABSTAINED,
                matched=False,
                last=START,
                round=message.round,
                fetching=self.catch_up.fetching,
            )
            ctx.send(sender, refusal, history=history)
        return False

    def _consider_history(self) -> None:
        """Found, take back, drop or yield a history, as the rules of :mod:`p2praft.raft.founding` say."""
        ctx = self.ctx
        if why := founding.must_take_back(ctx):
            self._lose_history(EventKind.TAKEN_BACK, f"took back our genesis: {why}", take_back=True)
        elif why := founding.must_drop(ctx):
            self._lose_history(EventKind.TAKEN_BACK, f"dropped a genesis: {why}")
        elif senior := founding.must_yield(ctx):
            logger.warning(
                "%s yields its history %s to the senior %s; its log of %d entries is archived",
                ctx.me,
                ctx.history.hex()[:8],
                senior.history.hex()[:8],
                ctx.log.last.index,
            )
            ctx.leave_history()
            self._lose_history(EventKind.YIELDED, f"yielded to history {senior.history.hex()[:8]}", archive=True)
        elif why := founding.must_bury(ctx):
            logger.warning(
                "%s gives up its history %s: %s; its log of %d entries is archived",
                ctx.me,
                ctx.history.hex()[:8],
                why,
                ctx.log.last.index,
            )
            ctx.bury_history()
            self._lose_history(EventKind.YIELDED, f"gave up a history: {why}", archive=True)
        if ctx.genesis is None:
            self._consider_founding()

    def _consider_founding(self) -> None:
        ctx = self.ctx
        unsettled = founding.uncommitted_elsewhere(ctx) - self._waited_for
        if unsettled:
            # Somebody is just founding: give each such attempt one delay, once, before founding beside it.
            self._waited_for |= unsettled
            self._wait_before_founding(ctx.config.bootstrap_delay)
        if ctx.now < self._found_after:
            return
        founders = founding.founders_now(ctx)
        if founders is not None:
            ctx.found(founding.genesis_entry(founders, ctx.rng.randbytes(16), ctx))
            self.role = role.change(self.role, Leader(ctx), ctx)

    def _lose_history(self, kind: EventKind, text: str, *, take_back: bool = False, archive: bool = False) -> None:
        ctx = self.ctx
        ctx.drop_history(take_back=take_back, archive=archive)
        self.catch_up.stop()
        self.role = role.change(self.role, Follower(None, ctx), ctx)
        ctx.emit(kind, text=text)
        self._wait_before_founding(ctx.config.election_timeout)

    def _wait_before_founding(self, delay: float) -> None:
        self._found_after = max(self._found_after, self.ctx.now + delay)
        self._look_at = self._found_after
