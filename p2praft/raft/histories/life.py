"""Decides which history one member holds: takes what it is told, looks at what that means, and has it done.

The states, and what leads from one to another, stand in :mod:`.states`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from p2praft.raft.base_role import Role
from p2praft.raft.context import Context
from p2praft.raft.effects import EventKind
from p2praft.raft.histories import adoption, rules
from p2praft.raft.histories.ending import PATIENCE, Ending
from p2praft.raft.histories.entries import NO_HISTORY, Absorbed, Genesis, HistoryId, Measure, Past, Seal, Share
from p2praft.raft.histories.holding import Holding
from p2praft.raft.histories.meeting import Meeting
from p2praft.raft.histories.messages import AskLife, End, Ended, HistoryMessage, LifeProof, Met, Standing, Superseded
from p2praft.raft.histories.settings import settings_of
from p2praft.raft.histories.states import State, Wait
from p2praft.raft.histories.telling import Telling
from p2praft.raft.leader import Leader
from p2praft.raft.messages import AppendEntries, InstallSnapshot, Message, Propose
from p2praft.raft.types import Member

logger = logging.getLogger("p2praft.raft")

LAST_COUNTER = b"\xff" * 4
MAX_LOST = 256
"""Members that may be declared lost in the life of a group."""


class Histories:
    """The room's only door for the engine.

    Args:
        ctx: The shared state.
        ask_operator: Whether a leader waits for the operator's word before it seals its history.
        machine: Version of the state machine; stands in the settings of a genesis.
        start: Which start of the storage this is; 0 if that is not counted.

    Attributes:
        holding: What the member holds.
        joins_only: Whether the member never founds, on the operator's word.
        forced: Whether it may found even if it remembers the end of a history, on the operator's word.
    """

    def __init__(self, ctx: Context, *, ask_operator: bool = False, machine: int = 1, start: int = 0) -> None:
        self._ctx = ctx
        self._start = start
        self._ask_operator = ask_operator
        self.joins_only = self.forced = False
        self._may_found = True
        self.holding = Holding(ctx, machine)
        self._meeting = Meeting()
        self._ending = Ending(self.holding, self._meeting, ctx)
        self._telling = Telling(self.holding, ctx, start)
        self._held = ctx.history
        self._was_sealed = False
        self._led_by: Member | None = None
        self._proposed_at = -math.inf
        self._look_at = ctx.now
        self._reconsider = True
        ctx.feeds = lambda member: adoption.feeds(member, self.holding, ctx)
        ctx.roster.lost = frozenset(ctx.disk.record.lost)

    # --- what it is

    @property
    def role(self) -> Role:
        """The member's role."""
        return self.holding.role

    @property
    def state(self) -> State:
        """What the member holds."""
        return self.holding.state

    @property
    def genesis(self) -> Genesis | None:
        """Of the history that it holds."""
        return self.holding.genesis

    @property
    def waits(self) -> tuple[Wait, tuple[Member, ...]] | None:
        """What it waits for, and for whom, if it has no leader."""
        return self._ending.waits

    @property
    def met(self) -> tuple[Measure, ...]:
        """Places in the order of other histories that it has met lately, the highest last."""
        return self._meeting.met

    @property
    def deadline(self) -> float:
        """When :meth:`tick` has something to do."""
        return min(self._telling.deadline, self._look_at)

    # --- inputs

    def tick(self) -> None:
        """Let time pass."""
        self._telling.tick(self._ctx)
        if self._ctx.now >= self._look_at:
            self._reconsider = True

    def on_bond_up(self) -> None:
        """A member can be sent to."""
        self._telling.again()
        self._reconsider = True

    def on_bond_down(self) -> None:
        """A member cannot be sent to any more."""
        self._reconsider = True

    def receive(self, message: HistoryMessage, sender: Member) -> None:
        """Take what a bonded member says of histories."""
        ctx, leader = self._ctx, self.holding.leader
        if isinstance(message, Standing):
            self._on_standing(message, sender)
        elif isinstance(message, Met):
            self._meeting.on_met(message, ctx)
            self._look_at = min(self._look_at, ctx.now)
        elif isinstance(message, AskLife):
            self._meeting.on_ask(message, sender, leader, ctx)
        elif isinstance(message, LifeProof):
            self._meeting.on_proof(message, sender, ctx)
            self._reconsider = True
        elif isinstance(message, Superseded):
            self._on_superseded(message)

    def adopts(self, message: Message, sender: Member, history: HistoryId) -> bool:
        """Whether a message of another history is taken, because this member takes that history up."""
        standing = self._ctx.roster.bonded.get(sender)
        if not isinstance(message, AppendEntries | InstallSnapshot) or standing is None or standing.history != history:
            return False
        return adoption.adopts(
            standing,
            sender,
            self.holding,
            self._ctx,
            joins_only=self._joins_only,
            sealed_since=self._ending.sealed_since,
        )

    def allow_founding(self, *, allowed: bool) -> None:
        """What the shell knows against founding, or no longer."""
        if allowed != self._may_found:
            self._may_found = allowed
            self._reconsider = True

    def declare_lost(self, members: Sequence[Member]) -> None:
        """Count members as gone for ever, on an operator's word; durable, and told to everybody."""
        ctx, record = self._ctx, self._ctx.disk.record
        news = tuple(member for member in members if member not in record.lost)
        if not news:
            return
        ctx.disk.save_record(replace(record, lost=tuple(sorted({*record.lost, *news}))[:MAX_LOST]))
        ctx.roster.lost = frozenset(ctx.disk.record.lost)
        ctx.emit(EventKind.LOST, text=f"declared lost for ever: {', '.join(map(str, news))}")
        if ctx.me in news:
            self._renew(ctx.me.incarnation, "an operator declared this member lost for ever")
        self._reconsider = True

    def allow_merge(self) -> None:
        """The operator's word that this history may end in favour of a higher one."""
        self._ask_operator = False
        self._reconsider = True

    def abandon(self) -> None:
        """Give this history up, on an operator's word: it is archived, and the member joins what lives."""
        if self._ctx.has_history:
            self.holding.leave("abandoned by the operator", archive=True)

    # --- outputs

    def perform(self) -> None:
        """Decide, and tell; called for every batch of inputs."""
        ctx, holding = self._ctx, self.holding
        self._note()
        if self._reconsider:
            self._reconsider = False
            self._look()
        if self._meeting.owes_answers:
            self._meeting.answer(holding.leader, ctx)
        self._telling.tell(ctx)

    def take_renewed(self) -> bool:
        """Whether this member has become another, durably, since the last call."""
        renewed = self.holding.take_renewed()
        if renewed:
            self._telling.again()
            self._reconsider = True
        return renewed

    # --- noticing

    def _note(self) -> None:
        """Notice what has changed since the last batch: a commit, a seal, a leader, a history."""
        ctx, holding = self._ctx, self.holding
        if ctx.has_history and not ctx.begun and holding.state is State.OFFERED:
            past = holding.own_past
            # A writer appends nothing behind its genesis before that is committed.
            if past is not None and (ctx.commit >= past.begins or ctx.log.last.index > past.begins):
                self._begin()
        if ctx.differs and not ctx.begun and ctx.disk.record.parent is not None:
            ctx.differs = False
            holding.restart_in_child()
        is_sealed = ctx.log.closed and holding.is_sealed
        if is_sealed and not self._was_sealed:
            self._ending.note_seal()
            self._reconsider = True
            ctx.emit(EventKind.SEALED, text=f"sealed into history {holding.seal.into.hex()[:8]}")
        self._was_sealed = is_sealed
        if ctx.leader != self._led_by:
            self._led_by, self._reconsider = ctx.leader, True
        if ctx.history != self._held:
            self._held, self._reconsider = ctx.history, True
            self._meeting.forget()
            self._ending.begin_anew()

    def _begin(self) -> None:
        self.holding.begin()
        self.holding.note_begun()
        self._reconsider = True

    def _on_standing(self, standing: Standing, sender: Member) -> None:
        ctx, holding = self._ctx, self.holding
        ctx.roster.hear(sender, standing)
        self.declare_lost(standing.lost)
        if standing.history == ctx.history and standing.founded and holding.state is State.OFFERED and holding.own_past:
            self._begin()
        past = holding.own_past
        before = (NO_HISTORY, *past.known) if past is not None and ctx.begun else ()
        if ctx.roster.has_forgotten(sender, standing, ctx.history, before):
            ctx.send(sender, Superseded(incarnation=sender.incarnation, start=standing.start))
        self._reconsider = True

    def _on_superseded(self, message: Superseded) -> None:
        me = self._ctx.me
        if message.incarnation[:4] == LAST_COUNTER:
            return  # nothing lies above it: no honest member has come so far
        if message.incarnation > me.incarnation:
            self._renew(message.incarnation, "others remember a later incarnation of it")
        elif message.incarnation == me.incarnation and message.start == self._start != 0:
            self._renew(me.incarnation, "its storage holds less than it had acknowledged: an older copy was put back")

    def _renew(self, above: bytes, why: str) -> None:
        self.holding.renew(above, why)
        self._reconsider = True

    # --- looking

    def _look(self) -> None:
        ctx, holding, ending = self._ctx, self.holding, self._ending
        if ctx.leader is not None and holding.state is not State.SEALED:
            ending.note_leader()
        ending.waits = None
        self._telling.may_write = False
        self._tell_superseded()
        state = holding.state
        if state is State.WRITING:
            self._look_at_own_genesis()
        elif state is State.OFFERED:
            self._look_at_offer()
        elif state is State.LIVING:
            self._look_at_living()
        elif state is State.SEALED:
            ending.look_at_sealed()
        if not ctx.has_history:
            self._look_at_founding()
        self._telling.joins_only = self._joins_only
        self._plan_next_look()

    def _plan_next_look(self) -> None:
        """A member that hears its leader and meets nobody has nothing to look at."""
        ctx, holding = self._ctx, self.holding
        calm = (
            holding.state is State.LIVING and ctx.leader is not None and not self._meeting.any and not self._owes_word
        )
        self._look_at = math.inf if calm else ctx.now + ctx.config.election_timeout / 2
        if not ctx.has_history and holding.wait_until > ctx.now:
            self._look_at = min(self._look_at, holding.wait_until)

    def _tell_superseded(self) -> None:
        """Tell members that others remember as later ones; a voter set remembers too."""
        ctx = self._ctx
        for voter in ctx.voters:
            ctx.roster.note(voter)
        for member in ctx.roster.bonded:
            latest = ctx.roster.latest(member)
            if latest.is_later_than(member):
                ctx.send(member, Superseded(incarnation=latest.incarnation))

    @property
    def _joins_only(self) -> bool:
        """Nobody who remembers a seal or a death founds an empty history, but on the operator's word."""
        return self.joins_only or (bool(self._ctx.disk.record.ended) and not self.forced)

    def _look_at_founding(self) -> None:
        ctx = self._ctx
        self._ending.wait_for_others_attempts()
        if self._may_write():
            self._telling.may_write = True
            if not rules.must_defer(ctx):
                self.holding.write(tuple(rules.eligible(ctx)[: ctx.config.max_voters]))

    def _may_write(self) -> bool:
        ctx, ending = self._ctx, self._ending
        standings = ctx.roster.bonded.values()
        if not self._may_found:
            ending.waits = (Wait.SHELL, ())
        elif self._joins_only:
            ending.waits = (Wait.HISTORY, ())
            ending.look_for_lost_heir()
        elif any(standing is not None and standing.founded for standing in standings):
            ending.waits = (Wait.HISTORY, ())
        elif ctx.preference.is_observer or len(rules.eligible(ctx)) < ctx.config.expect:
            ending.waits = (Wait.MEMBERS, ())
        return (
            ending.waits is None
            and not ctx.leaving
            and not self.holding.is_renewing
            and ctx.now >= self.holding.wait_until
            and not rules.outranked(NO_HISTORY, ctx)
            and None not in standings  # who has not said what it is, is about to
        )

    def _look_at_own_genesis(self) -> None:
        genesis = self.holding.genesis
        assert genesis is not None
        if why := rules.must_take_back(genesis, self._ctx):
            self.holding.give_back(f"took back our genesis: {why}")

    def _look_at_offer(self) -> None:
        ctx, holding = self._ctx, self.holding
        genesis = holding.genesis
        if genesis is None:
            return
        if why := rules.must_drop(genesis, ctx):
            holding.give_back(f"dropped a genesis: {why}")
        elif rules.has_nothing_to_lose(holding.past()) and self._ending.waited(PATIENCE):
            holding.leave("its genesis was not founded in time")
        else:
            self._ending.waits = (Wait.FOUNDER, rules.missing({genesis.writer, *genesis.founders}, ctx))

    def _look_at_living(self) -> None:
        self._meeting.look(self._ctx)
        self._share()
        leader = self.holding.leader
        if leader is not None:
            self._meet_as_leader(leader)
        elif self._ctx.leader is None:
            self._ending.look_at_living()

    def _meet_as_leader(self, leader: Leader) -> None:
        """Seal our history if a higher one is proven to live; our own whole log counts, committed or not."""
        ctx, past = self._ctx, self.holding.own_past
        if past is None or ctx.closed or ctx.commit < leader.term_start:
            return
        proof = self._meeting.proven_above(past.measure, ctx)
        if proof is None:
            return
        if self._ask_operator:
            self._ending.waits = (Wait.OPERATOR, ())
            return
        logger.warning("history %s ends in favour of %s", ctx.history.hex()[:8], proof.of.hex()[:8])
        leader.append(Seal(into=proof.of, voters=proof.voters), ctx.me.peer_id, ctx)

    # --- what all shall know

    @property
    def _owes_word(self) -> bool:
        """Whether the log lacks what all shall know: a leader of a log of release 0.1 owes it the group's settings."""
        past = self.holding.own_past
        if past is None:
            return True  # we cannot tell before the log has come
        return (self.holding.leader is not None and past.settings is None) or bool(self._ended_in_favour(past))

    def _share(self) -> None:
        """Put into the log what all shall know: the settings, and which histories have ended in favour of this one."""
        ctx, leader, past = self._ctx, self.holding.leader, self.holding.own_past
        if past is None or ctx.closed or ctx.leader is None:
            return
        if leader is None:
            ended = self._ended_in_favour(past)
            if ended and ctx.now >= self._proposed_at + ctx.config.election_timeout:
                self._proposed_at = ctx.now
                for absorbed in ended:
                    ctx.send(ctx.leader, Propose(request=0, payload=absorbed))
        elif ctx.commit >= leader.term_start:
            if past.settings is None:
                leader.append(Share(settings=settings_of(ctx.config, self.holding.machine)), ctx.me.peer_id, ctx)
            for absorbed in self._ended_in_favour(past):
                leader.append(absorbed, ctx.me.peer_id, ctx)

    def _ended_in_favour(self, past: Past) -> list[Absorbed]:
        """Histories whose end in favour of ours is known here, and not in the log."""
        ctx = self._ctx
        found: dict[HistoryId, Absorbed] = {}
        have = {branch.history for branch in past.absorbed}
        told = [standing for standing in ctx.roster.bonded.values() if standing is not None and standing.seal]
        ends: list[tuple[Ended, tuple[HistoryId, ...]]] = [
            (ended, ()) for ended in ctx.disk.record.ended if ended.how is End.SEALED
        ]
        ends += [(standing.seal, standing.known) for standing in told if standing.seal]
        for ended, also in ends:
            ours = ended.into == ctx.history or ended.into in past.known
            if ours and ended.branch.history not in have:
                found[ended.branch.history] = Absorbed(branch=ended.branch, also=also[:512])
        return list(found.values())
