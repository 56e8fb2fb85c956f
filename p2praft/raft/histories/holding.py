"""What a member holds, and every change of it: the right column of the table in :mod:`.states`."""

from __future__ import annotations

import logging
from dataclasses import replace

from p2praft.errors import ConfigError
from p2praft.raft import role as roles
from p2praft.raft.base_role import Role
from p2praft.raft.context import Context
from p2praft.raft.effects import Archive, EventKind, HardState
from p2praft.raft.entries import LogEntry
from p2praft.raft.follower import Follower
from p2praft.raft.histories.entries import NO_HISTORY, Branch, Genesis, Past, Seal
from p2praft.raft.histories.founder import Founder
from p2praft.raft.histories.messages import End, Ended, Held, Standing
from p2praft.raft.histories.record import Promise, Record
from p2praft.raft.histories.settings import merged, settings_of
from p2praft.raft.histories.states import State
from p2praft.raft.leader import Leader
from p2praft.raft.types import START, Index, Member, Term, later_incarnation

logger = logging.getLogger("p2praft.raft")

MAX_ANCESTORS = 256
"""Branches that a genesis names at most; the oldest go first."""


class Holding:
    """One member's history, and what it has promised in it.

    Args:
        ctx: The shared state.
        machine: Version of the state machine; stands in the settings of a genesis.

    Attributes:
        role: The member's role; the engine and this room alone change it.
        end: The log that was left for good, for the shell.
        reset: Whether the state machine begins anew.
        revives: The archived history that is taken up again, by a start on what the storage then holds.
        wait_until: When the member may write a genesis, on the engine's clock.
    """

    def __init__(self, ctx: Context, machine: int) -> None:
        self._ctx = ctx
        self.machine = machine
        self.end: Archive | None = None
        self.reset = False
        self.revives: bytes | None = None
        self.wait_until = ctx.now + ctx.config.bootstrap_delay
        self._offer: Genesis | None = None
        self._renewing: int | None = None
        self.role: Role = self._first_role()

    def _first_role(self) -> Role:
        ctx, record, past = self._ctx, self._ctx.disk.record, self.past()
        if ctx.has_history and not record.founded:
            if past is None or past.genesis.history != ctx.history:
                self._return_to_parent(record)  # we had not got its genesis yet
            elif past.genesis.writer == ctx.me:
                return Founder(past.begins, self.begin, self.note_begun, ctx)
        self._take_settings()
        return Follower(None, ctx)

    # --- what it is

    @property
    def state(self) -> State:
        """Which of the table's states this member is in."""
        ctx = self._ctx
        if not ctx.has_history:
            return State.NONE
        if not ctx.begun:
            return State.WRITING if isinstance(self.role, Founder) else State.OFFERED
        return State.SEALED if self.is_sealed else State.LIVING

    @property
    def is_sealed(self) -> bool:
        """Whether the history has a committed seal."""
        ctx = self._ctx
        return ctx.log.closed and ctx.commit >= ctx.log.marks[-1].index

    @property
    def seal(self) -> Seal:
        """The seal, where the log has one."""
        seal = self._ctx.log.marks[-1].payload
        assert isinstance(seal, Seal)
        return seal

    def past(self) -> Past | None:
        """What the whole log says of its history; an ancestor's, while the genesis has not come."""
        return self._ctx.log.past

    @property
    def own_past(self) -> Past | None:
        """What the whole log says of the history that is held; None while its genesis has not come."""
        past = self.past()
        return past if past is not None and past.genesis.history == self._ctx.history else None

    @property
    def genesis(self) -> Genesis | None:
        """Of the history that is held; of the one that is offered, while that entry has not come."""
        past = self.own_past
        return past.genesis if past is not None else self._offer

    @property
    def parent(self) -> bytes:
        """The history that ours was born of; 16 zero bytes if of none."""
        genesis = self.genesis
        return genesis.ancestors[-1].history if genesis is not None and genesis.ancestors else NO_HISTORY

    @property
    def leader(self) -> Leader | None:
        """Our role, if we lead."""
        return self.role if isinstance(self.role, Leader) else None

    @property
    def is_renewing(self) -> bool:
        """Whether this member is becoming another, and that is not durable yet."""
        return self._renewing is not None

    def held(self) -> Held:
        """What others may know of our log."""
        ctx, last = self._ctx, self._ctx.log.last
        return Held(last=last, digest=ctx.log.digest_at(last.index), term=ctx.term, voters=ctx.voters)

    def own_end(self, how: End, *, into: bytes = NO_HISTORY) -> Ended:
        """How our history would end for us here."""
        ctx, last = self._ctx, self._ctx.log.last
        if how is End.SEALED:
            last, into = ctx.log.marks[-1].cursor, self.seal.into
        branch = Branch(history=ctx.history, at=last, digest=ctx.log.digest_at(last.index))
        return Ended(branch=branch, into=into, how=how, incarnation=ctx.me.incarnation)

    # --- beginning

    def write(self, founders: tuple[Member, ...], *, above: Term = START.term) -> None:
        """Write a genesis, as the child of the history that is held, if any.

        Args:
            founders: The first voters.
            above: A term that the new history begins above; for a child, the latest that any holder has seen.
        """
        ctx, record, past, last = self._ctx, self._ctx.disk.record, self.past(), self._ctx.log.last
        ancestors: tuple[Branch, ...] = ()
        parent = None
        if past is not None:
            branch = Branch(history=ctx.history, at=last, digest=ctx.log.digest_at(last.index))
            ancestors = (*past.genesis.ancestors, branch)[-MAX_ANCESTORS:]
            parent = Promise(history=ctx.history, term=ctx.term, vote=ctx.state.vote, founded=True)
            text = f"history {ctx.history.hex()[:8]} is born again from entry {last.index}, by {len(founders)} founders"
            logger.warning("%s", text)
            ctx.emit(EventKind.REBORN, text=text)
        genesis = Genesis(
            history=ctx.rng.randbytes(16),
            writer=ctx.me,
            attempt=record.attempt + 1,
            founders=founders,
            reluctant=ctx.preference.is_reluctant,
            created=max(0.0, ctx.epoch + ctx.now),
            ancestors=ancestors,
            settings=settings_of(ctx.config, self.machine),
        )
        term, index = Term(max(above, last.term) + 1), Index(last.index + 1)
        entry = LogEntry(term=term, index=index, time=ctx.wall_time(), proposer=ctx.me.peer_id, payload=genesis)
        ctx.disk.save(HardState(term=term, vote=ctx.me))
        self._hold(replace(record, history=genesis.history, founded=False, attempt=genesis.attempt, parent=parent))
        ctx.persist((entry,))
        self._change(Founder(index, self.begin, self.note_begun, ctx))

    def take_up(self, standing: Standing) -> None:
        """Hold the history of somebody who feeds it to us: a founded one, or one whose genesis names us.

        A founder goes on in the child of its history with the log that it has; one without history gets the parent's log
        from the writer. Until the genesis is founded, the way back to the parent is open.
        """
        ctx, record = self._ctx, self._ctx.disk.record
        parent = None
        if not standing.founded and standing.genesis is not None and standing.genesis.ancestors:
            parent = Promise(
                history=standing.genesis.ancestors[-1].history,
                term=ctx.term if ctx.has_history else Term(0),
                vote=ctx.state.vote if ctx.has_history else None,
                founded=True,
            )
        ctx.disk.save(HardState())
        self._hold(replace(record, history=standing.history, founded=standing.founded, parent=parent))
        self._offer = standing.genesis
        self._change(Follower(None, ctx))

    def begin(self) -> None:
        """The genesis that is held is committed: what it was born of is over for this member, and kept aside."""
        ctx, genesis = self._ctx, self.genesis
        assert genesis is not None
        if genesis.ancestors:
            branch = genesis.ancestors[-1]
            ended = Ended(branch=branch, into=genesis.history, how=End.REBORN, incarnation=ctx.me.incarnation)
            ctx.disk.archive(self._archive(ended, whole=False))
            ctx.disk.save_record(ctx.disk.record.ending(ended))
        ctx.disk.save_record(replace(ctx.disk.record, founded=True, parent=None))

    def note_begun(self) -> None:
        """The genesis is known to be committed, durably or by others."""
        ctx = self._ctx
        ctx.begun = True
        self._take_settings()
        ctx.emit(EventKind.FOUNDED, text=f"history {ctx.history.hex()[:8]} is founded")

    # --- giving up

    def give_back(self, text: str) -> None:
        """A genesis is not founded: back to its parent, or to nothing."""
        ctx = self._ctx
        self._return_to_parent(ctx.disk.record)
        self._change(Follower(None, ctx))
        ctx.emit(EventKind.TAKEN_BACK, text=text)
        self.wait_until = max(self.wait_until, ctx.now + ctx.config.election_timeout)

    def _return_to_parent(self, record: Record) -> None:
        ctx, parent, past = self._ctx, record.parent, self.own_past
        if parent is None:
            self.reset = self.reset or ctx.commit > 0
            ctx.drop_log()
            ctx.disk.save(HardState())
            self._hold(replace(record, history=NO_HISTORY, founded=False))
            return
        if past is not None:
            ctx.log.cut(past.begins)
        ctx.disk.save(HardState(term=parent.term, vote=parent.vote))
        self._hold(replace(record, history=parent.history, founded=parent.founded, parent=None))

    def leave(self, why: str, *, into: bytes = NO_HISTORY, archive: bool = False) -> None:
        """Give up a history without a committed seal: this member's incarnation ends with it.

        Args:
            why: For people.
            into: The history that it goes to, if that is known.
            archive: Whether the log is kept aside: there is something in it.
        """
        ctx = self._ctx
        logger.warning("%s leaves history %s: %s", ctx.me, ctx.history.hex()[:8], why)
        if archive:
            self._keep_aside(self.own_end(End.LEFT, into=into), whole=False)
        self._clear()
        ctx.emit(EventKind.YIELDED, text=f"left a history: {why}")
        self.renew(ctx.me.incarnation, why)

    def move(self, standing: Standing) -> bool:
        """From our sealed history into its heir; False if this member has to become another for that first."""
        ctx = self._ctx
        self._keep_aside(self.own_end(End.SEALED), whole=True)
        self._clear()
        ctx.emit(EventKind.YIELDED, text=f"moved into history {standing.history.hex()[:8]}")
        if ctx.disk.record.bars(standing.history, ctx.me.incarnation):
            self.renew(ctx.me.incarnation, "it comes back to a history that it had left")
            return False
        self.take_up(standing)
        return True

    def restart_in_child(self) -> None:
        """Our log and the child's differ in what we know committed: hold on to the child, and fetch all of it."""
        ctx, record = self._ctx, self._ctx.disk.record
        assert record.parent is not None
        branch = Branch(history=record.parent.history, at=ctx.log.last, digest=ctx.log.digest_at(ctx.log.last.index))
        ended = Ended(branch=branch, into=ctx.history, how=End.LEFT, incarnation=ctx.me.incarnation)
        self._keep_aside(ended, whole=False)
        self.reset = True
        ctx.drop_log()
        ctx.disk.save_record(replace(ctx.disk.record, parent=None))

    def revive(self, history: bytes) -> None:
        """Take up again what was archived, as another member: the storage puts it back, and the shell starts on it."""
        ctx = self._ctx
        self.renew(ctx.me.incarnation, "the history that it waited for is gone; it takes up what it had archived")
        self.revives = history
        ctx.disk.revive(history)
        ctx.disk.save_record(replace(ctx.disk.record, history=history, founded=True))

    def renew(self, above: bytes, why: str) -> None:
        """Become another member, with the log that is held; nothing leaves before that is durable."""
        ctx = self._ctx
        ctx.me = replace(ctx.me, incarnation=later_incarnation(above, ctx.rng.randbytes(4)))
        ctx.roster.note(ctx.me)
        ctx.disk.save_incarnation(ctx.me.incarnation)
        ctx.disk.save(HardState(term=ctx.term))
        self._renewing = ctx.disk.hold_all(ctx.log)
        ctx.emit(EventKind.RENEWED, text=f"goes on as a new member: {why}")
        self._change(Follower(None, ctx))

    def take_renewed(self) -> bool:
        """Whether this member has become another, durably, since the last call."""
        if self._renewing is None or not self._ctx.disk.is_durable(self._renewing):
            return False
        self._renewing = None
        return True

    # --- inner workings

    def _archive(self, ended: Ended, *, whole: bool) -> Archive:
        log = self._ctx.log
        return Archive(ended=ended, whole=whole, entries=log.between(log.base.index + 1, ended.branch.at.index))

    def _keep_aside(self, ended: Ended, *, whole: bool) -> None:
        ctx = self._ctx
        self.end = self._archive(ended, whole=whole)
        ctx.disk.archive(self.end)
        ctx.disk.save_record(ctx.disk.record.ending(ended))

    def _clear(self) -> None:
        ctx = self._ctx
        self.reset = True
        ctx.drop_log()
        ctx.provider.stop()
        ctx.disk.save(HardState())
        self._hold(replace(ctx.disk.record, history=NO_HISTORY, founded=False, parent=None))
        ctx.differs = False
        self.wait_until = max(self.wait_until, ctx.now + ctx.config.election_timeout)
        self._change(Follower(None, ctx))

    def _hold(self, record: Record) -> None:
        """From now on the log, the term and the vote are of the record's history."""
        ctx = self._ctx
        ctx.disk.save_record(record)
        ctx.history, ctx.begun = record.history, record.founded
        self._offer = None

    def _take_settings(self) -> None:
        ctx, past = self._ctx, self.past()
        if past is None or past.settings is None:
            return
        try:
            ctx.config = merged(ctx.config, past.settings)
        except ConfigError as error:
            logger.warning("the group's settings cannot be used, this member keeps its own: %s", error)

    def _change(self, role: Role) -> None:
        self.role = roles.change(self.role, role, self._ctx)
