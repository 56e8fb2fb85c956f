"""The group worker: drives one engine. It owns the engine, the storage, the state machine and the bonds.

Everything that changes the engine happens in one task, in turns: take what came in, let time pass, propose, perform
the effects, sleep until something comes or the engine's next deadline.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel

from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import GroupClosed, P2PRaftError
from p2praft.groups.applier import Applied, Applier, Tables
from p2praft.groups.bond import Bond, Departure, Envelope, Renewed, Twin
from p2praft.groups.carrier import Told
from p2praft.groups.disk import DiskWriter, Queued
from p2praft.groups.events import GroupEvent
from p2praft.groups.gate import Waits
from p2praft.groups.heritage import Heritage
from p2praft.groups.machine import MachineName, StateMachine
from p2praft.groups.proposals import RETRY_DELAY, Call, Proposals
from p2praft.groups.queries import Queries
from p2praft.groups.shelf import Shelf
from p2praft.groups.snapshots import Making, Snapshots
from p2praft.groups.stats import GroupStats
from p2praft.groups.ticker import Ticker
from p2praft.groups.waiting import Deadlines, Flag, deadline_after
from p2praft.raft.effects import (
    Accepted,
    Archive,
    ChunkWrite,
    Effects,
    EngineEvent,
    EventKind,
    Outgoing,
    SendChunk,
    StoreChunk,
    Write,
)
from p2praft.raft.engine import Engine
from p2praft.raft.entries import Snapshot
from p2praft.raft.histories.messages import End
from p2praft.raft.messages import FetchedChunk
from p2praft.raft.types import Member
from p2praft.storage import Storage
from transport import LinkClosed, LinkFull, PeerId
from transport.backend import loop_clock
from transport.feed import Feed

logger = logging.getLogger("p2praft.group")

LOUD = dict.fromkeys(
    (
        *("founded", "leader", "voters", "sealed", "reborn", "renewed", "yielded", "stranded", "differs"),
        *("declared lost", "closed", "twin"),
    ),
    logging.INFO,
)
"""Events that are worth a line in the log of a node that runs well; the others show at DEBUG."""
FULL_ENTRY = 128
"""Calls that are enough for an entry: it leaves while more callers come, so that followers work beside the leader."""
LEAVE_INTERVAL = 0.2
"""Seconds after which a leader that leaves tries again to hand over."""
MAX_INBOX = 65_536
"""Messages that may wait for the worker, which is long only while a large snapshot is restored; more are dropped."""


class Worker:
    """One member's part in one group.

    Attributes:
        engine: The consensus engine.
        applier: The state machine.
        bonds: Live bonds by peer.
        name: The group's name, for people.
        events: What happens, for applications.
        stats: What is counted, for metrics.
        me: This member; it may become a later incarnation of itself.
        waits_for: Why this member may not found a history now; None if it may. Says nothing of a member that has one.
        archives: Ended histories that this member has kept.
        on_twin: Called with what a member tells of two processes of one identity.
        on_renewed: Called with the member that we are from now on.
    """

    def __init__(
        self,
        *,
        name: str,
        peer_id: PeerId,
        machine: StateMachine,
        storage: Storage,
        config: ConsensusConfig,
        preference: LeadershipPreference,
        rng: random.Random,
        wall_clock: Callable[[], float] = time.time,
        found: bool | None = None,
        ask_operator: bool = False,
    ) -> None:
        self._clock = loop_clock()
        self.name = name
        self.preference = preference
        self._own_config = config
        self._rng = rng
        self._found = found
        self._ask_operator = ask_operator
        self._epoch = wall_clock() - self._clock()
        self._storage = storage
        self.me = Member(peer_id, storage.incarnation, storage.volatile)
        self.applier = Applier(machine)
        self.bonds: dict[PeerId, Bond] = {}
        self.engine = self._new_engine()
        self.stats = GroupStats()
        self.proposals = Proposals(nonce=rng.randbytes(16), forward_timeout=config.forward_timeout, stats=self.stats)
        self.queries = Queries(forward_timeout=config.forward_timeout)
        self.deadlines = Deadlines()
        self.ticker = Ticker(machine)
        self.events: Feed[GroupEvent] = Feed()
        self.failure: P2PRaftError | None = None
        self.waits_for: Waits | None = None
        self.snapshots = Snapshots(
            applier=self.applier,
            storage=storage,
            every=config.snapshot_every,
            store=self._store,
            made=lambda making, snapshot: self._post(lambda now: self._compact(making, snapshot, now)),
            taken=lambda snapshot, tables, state: self._post(lambda now: self._install(snapshot, tables, state, now)),
            send=self._send_chunk,
            fail=self._fail,
        )
        self.archives = Shelf(storage, self.applier)
        self._heritage = Heritage(
            applier=self.applier,
            storage=storage,
            rng=rng,
            told=self._tell_carried,
            wake=self.wake,
            written=self._written,
        )
        self.on_twin: Callable[[Twin], None] = void
        self.on_renewed: Callable[[Member], None] = void
        self._inbox: deque[Callable[[float], None]] = deque()
        self._woken = anyio.Event()
        self._disk = DiskWriter(storage, written=self._on_written, failed=self._fail)
        self._changed: anyio.Event | None = None
        self._closing = False
        self._turning = False
        self._wakes_at = float("-inf")
        self._restored = self.engine.snapshot is None
        self._begins_anew = self._leaving = False
        self._history = self.engine.history
        self._safe = False
        self._settings: ConsensusConfig | None = None
        self._done = anyio.Event()
        self._pid = os.getpid()

    def _new_engine(self) -> Engine:
        """An engine of what the storage holds."""
        engine = Engine(
            me=self.me,
            config=self._own_config,
            preference=self.preference,
            rng=self._rng,
            now=self._clock(),
            epoch=self._epoch,
            restored=self._storage.load(),
            write_through=not self._storage.blocking,
            ask_operator=self._ask_operator,
            machine=MachineName.parse(self.applier.machine.signature).version,
            start=self._storage.start,
        )
        engine.histories.joins_only = self._found is False
        engine.histories.forced = self._found is True
        return engine

    @property
    def config(self) -> ConsensusConfig:
        """The settings in force: the group's, and this member's own where they are nobody else's."""
        return self.engine.config

    # --- life

    async def run(self) -> None:
        """Drive the engine until the group closes or its storage fails."""
        try:
            async with anyio.create_task_group() as tasks:
                await self._restore()
                tasks.start_soon(self.snapshots.run)
                tasks.start_soon(self._heritage.run)
                if self._storage.blocking:
                    tasks.start_soon(self._disk.run)
                try:
                    await self._turns()
                finally:
                    self._disk.stop()
                tasks.cancel_scope.cancel()
        finally:
            self._end()

    def close(self) -> None:
        """Stop after the present turn; what is unsettled fails with :class:`GroupClosed`."""
        self._closing = True
        self.wake()

    async def shut_down(self, *, within: float) -> None:
        """Give back what others need this member for, tell the others, and stop.

        A leader hands over. A voter without a disk leaves the voter set: with its memory it takes its vote along.

        Args:
            within: Seconds that the others may take to let it go.
        """
        with anyio.move_on_after(within):
            if self.me.volatile and self.me in self.engine.voters:
                await self.depart()
            elif self.engine.is_leader and len(self.engine.voters) > 1:
                self.transfer(None)
                with anyio.move_on_after(self.config.election_timeout):
                    while self.engine.is_leader and not self._closing:
                        await self.wait_change()
        for bond in self.bonds.values():
            with contextlib.suppress(LinkClosed, LinkFull):
                bond.link.send_nowait(Departure(ended=self.me.volatile))
        self.close()
        await self.wait_done()

    async def depart(self) -> None:
        """Wait until the others have let this member go; a leader hands over first. Cancelled, it stays leaving."""
        self.leave()
        while not self.has_left and not self._closing:
            if self.engine.is_leader:
                self.transfer(None)
            with anyio.move_on_after(LEAVE_INTERVAL):
                await self.wait_change()

    async def wait_done(self) -> None:
        """Wait until :meth:`run` has ended."""
        await self._done.wait()

    async def _turns(self) -> None:
        while not self._closing:
            self._wakes_at = deadline = self._deadline
            if self._clock() < deadline and not self._inbox:
                with anyio.move_on_at(deadline):
                    await self._woken.wait()
            else:
                await anyio.lowlevel.checkpoint()  # a busy group must not starve the others
            self._woken = anyio.Event()
            self._wakes_at = float("-inf")
            if self._begins_anew:
                await self._begin_anew()
            self._turn()

    @property
    def _deadline(self) -> float:
        resend_at = min(self.proposals.resend_at, self.queries.resend_at)
        return min(self.engine.deadline, resend_at, self.deadlines.next, self.ticker.next, self._heritage.deadline)

    async def _restore(self) -> None:
        """Begin where the newest snapshot in the storage ends."""
        snapshot = self.engine.snapshot
        if snapshot is not None:
            try:
                tables, state = await self.snapshots.restore(snapshot, pending=False)
            except P2PRaftError as error:
                self._fail(error)
                return
            self.applier.restore(snapshot.base.last.index, tables, state)
        self._restored = True
        self._notify()

    async def _begin_anew(self) -> None:
        """The storage holds another log: go on as at a start, with what was asked of this member since."""
        await self._written()
        self._begins_anew = False
        for bond in list(self.bonds.values()):
            self._drop_bond(bond, "this member takes up another log")
        self._inbox.clear()  # it was for the engine that goes
        self.me = replace(self.me, incarnation=self._storage.incarnation)
        self.on_renewed(self.me)
        self.engine = self._new_engine()
        self._history = self.engine.history
        now = self._clock()
        self.engine.leave(leaving=self._leaving)
        self.engine.allow_founding(allowed=self.waits_for is None, now=now)
        self.applier.reset()
        self.snapshots.reset()
        self.proposals.restart(now)
        self.queries.restart(now)
        await self._restore()

    async def _written(self) -> None:
        """Wait until the storage has all that it was given."""
        if self._storage.blocking:
            written = anyio.Event()
            self._disk.put(None, written.set)
            await written.wait()

    def _turn(self, *, deaf: bool = False) -> None:
        """One turn; ``deaf`` if the network may not have been read since the last one."""
        self._turning = True
        now = self._clock()
        try:
            for _ in range(len(self._inbox)):
                self._inbox.popleft()(now)
            if now >= self.engine.deadline:
                self._look_for_signs_of_life(now)
            self.engine.tick(now, deaf=deaf)  # after every batch: a busy inbox must not starve the timer
            self._propose(now, deaf=deaf)
            self._perform(self.engine.take_effects(), now)
            self.deadlines.on_time(now)
            self._tick(now)
            self._carry(now)
        except P2PRaftError as error:
            self._fail(error)
        except Exception as error:  # a bug of ours, or of the state machine's: the node's other groups go on
            logger.exception("group %s fails on this node", self.name)
            self._fail(P2PRaftError(f"group {self.name!r} stopped on this node: {type(error).__name__}: {error}"))
        finally:
            self._turning = False

    def _turn_at_once(self, *, deaf: bool = False) -> None:
        """Have a turn in this very step of whatever task brought something: a commit then waits for no change of tasks."""
        if self._turning or self._closing or not self._restored:
            self.wake()
            return
        self._turn(deaf=deaf)
        if self._deadline < self._wakes_at:
            self.wake()  # our own task sleeps for too long now

    def _look_for_signs_of_life(self, now: float) -> None:
        """Before a timer strikes: whose packets come is there, even if a long message holds up what it says."""
        for bond in self.bonds.values():
            if now - bond.link.connection.heard_at <= self.config.election_timeout:
                self.engine.sign_of_life(bond.member, now, receiving=bond.link.receiving)

    def _turn_soon(self, *, now: bool) -> None:
        """Have a turn in this very step of the caller's task, if ``now``; else with whatever else comes meanwhile."""
        if now and not self._inbox:
            self._turn_and_send()
        else:
            self.wake()

    def _turn_and_send(self) -> None:
        """Have a turn at once; what it sends leaves now, not at the end of the loop's round."""
        links = [bond.link for bond in self.bonds.values()]
        for link in links:
            link.hold()
        try:
            self._turn_at_once(deaf=True)  # a burst of callers comes between two readings
        finally:
            for link in links:
                link.flush()

    def _tick(self, now: float) -> None:
        """Behind what was applied in this turn: it may have changed what is due."""
        engine = self.engine
        command = self.ticker.on_time(now, leads=engine.is_leader, epoch=self._epoch, log_time=engine.log_time)
        if command is not None and self.proposals.has_room:  # if it is full, time passes anyway
            self.ticker.call = self.proposals.add((command,))
            self.wake()

    def _carry(self, now: float) -> None:
        """Bring over what this member's archives have and the history lacks."""
        if self._heritage.advance(self.engine, now, self.bonds):
            self._perform(self.engine.take_effects(), now)

    def _tell_carried(self, told: Told) -> None:
        """Say what came of an ended history's commands; a warning if some are in the archive only."""
        if told.loses and told.number is not None:
            self.archives.aside[told.number] = told.text
        if told.loses:
            logger.warning("group %s: %s", self.name, told.text)
        self.tell(GroupEvent(kind="carried over", term=self.engine.term, text=told.text))

    def _propose(self, now: float, *, deaf: bool) -> None:
        if not deaf:
            self.proposals.on_time(now)
        while self.engine.reaches_leader and (proposal := self.proposals.next_proposal(now)) is not None:
            if not self.engine.propose(*proposal):
                self.proposals.rewind(now, RETRY_DELAY)
                break
        if now >= self.queries.resend_at and not deaf:
            self.queries.rewind(now)
        if (request := self.queries.next_request(now)) is not None and not self.engine.read(request):
            self.queries.rewind(now, RETRY_DELAY)

    def _perform(self, effects: Effects, now: float) -> None:
        while True:
            if effects.write is not None and not self._storage.blocking:
                self._storage.write((effects.write,))
            if effects.restart:
                self._begins_anew, self._restored = True, False
                self.wake()
                return
            if effects.renewed is not None:
                self._become(effects.renewed)
            for outgoing in effects.messages:
                bond = self.bonds.get(outgoing.to.peer_id)
                if bond is not None and bond.member == outgoing.to:
                    bond.send(outgoing)
            self._deliver(effects, now)
            if effects.write is not None and self._storage.blocking:
                self._disk.put(effects.write, None)
            # Behind the write: it may name the snapshot whose place the next chunks take.
            self._perform_chunks(effects, now)
            if self.engine.settled:
                return
            effects = self.engine.take_effects()

    def _become(self, me: Member) -> None:
        """We are another member now: whoever is bonded hears of it before anything else that we say."""
        self.me = me
        self.on_renewed(me)
        for bond in self.bonds.values():
            bond.renew(me.incarnation)

    def _deliver(self, effects: Effects, now: float) -> None:
        """Apply what is committed, settle calls and reads, tell the application."""
        if effects.reset:
            self._leave_history(effects.end, now)
        self._history = self.engine.history
        if self.engine.config is not self._settings:
            self._take_settings()
        for entry in effects.committed:
            applied = self.applier.apply(entry)
            if isinstance(applied, Applied):
                self.proposals.on_applied(applied, now)
            elif applied is not None:
                self._heritage.on_applied(applied, now, mine=entry.proposer == self.me.peer_id)
            self.snapshots.on_applied(entry, self.engine.base_at, now, fetching=self.engine.catch_up.fetching)
        for answer in effects.answers:
            if isinstance(answer, Accepted):
                self.proposals.on_answer(answer.request, answer.index, now)
            else:
                self.queries.on_answer(answer.request, answer.index, now, retry_delay=RETRY_DELAY)
        for event in effects.events:
            self._on_event(event, now)
        self.queries.serve(self.applier.index)
        safe = self.engine.safe
        if effects.committed or effects.events or effects.answers or effects.write or safe is not self._safe:
            self._safe = safe
            self._notify()

    def _leave_history(self, end: Archive | None, now: float) -> None:
        """The history is over for this member: settle what can be settled, and begin with nothing."""
        sealed = end is not None and end.ended.how is End.SEALED
        if end is not None:
            for entry in end.entries:
                if self.applier.index < entry.index <= end.ended.branch.at.index:
                    applied = self.applier.apply(entry)
                    if isinstance(applied, Applied) and sealed:
                        self.proposals.on_applied(applied, now)
        if sealed:
            # All of the history was seen: what is unsettled is not in it, and never will be.
            self.proposals.restart(now)
        else:
            self.proposals.on_history_left(self._history, now, archived=end is not None)
        self.applier.reset()
        self.queries.restart(now)
        self.snapshots.reset()

    def _take_settings(self) -> None:
        """Go by the settings of the group, and say where this node was told others."""
        self._settings = self.engine.config
        self.snapshots.follow(self._settings.snapshot_every)
        if names := self.engine.status().settings_differ:
            own, group = self._own_config, self._settings
            differ = ", ".join(f"{name} {getattr(group, name)} (here: {getattr(own, name)})" for name in names)
            logger.warning("group %s has settings of its own, which count: %s", self.name, differ)

    def _on_event(self, event: EngineEvent, now: float) -> None:
        if event.kind is EventKind.LEADER:
            self.proposals.rewind(now)
            self.queries.rewind(now)
        peer = event.member.peer_id if event.member else None
        self.tell(GroupEvent(kind=event.kind.value, term=event.term, peer=peer, text=event.text))

    def _on_written(self, batch: Sequence[Queued], seconds: float) -> None:
        self.stats.writes.observe(seconds)
        serial = max((write.serial for write, _ in batch if isinstance(write, Write)), default=0)
        self._inbox.append(lambda now: self.engine.persisted(serial, now))
        for _, done in batch:
            if done is not None:
                done()
        self._turn_and_send()

    # --- snapshots

    def _perform_chunks(self, effects: Effects, now: float) -> None:
        for chunk in effects.chunks:
            if isinstance(chunk, SendChunk):
                self.snapshots.give(chunk, now)
            else:
                self._store_fetched(chunk)
        if effects.restore is not None:
            self.snapshots.take(effects.restore)

    def _compact(self, making: Making, snapshot: Snapshot, now: float) -> None:
        if self.snapshots.finish(making):
            self.engine.compact(snapshot, now)

    def _store(self, write: ChunkWrite, done: Callable[[], None]) -> None:
        if self._storage.blocking:
            self._disk.put(write, done)
        else:
            self._storage.write((write,))
            done()

    def _store_fetched(self, chunk: StoreChunk) -> None:
        self.snapshots.give_up_making()
        self._store(
            ChunkWrite(number=chunk.number, data=chunk.data),
            lambda: self._post(lambda now: self.engine.chunk_stored(chunk.fetch, chunk.number, now)),
        )

    def _send_chunk(self, request: SendChunk, message: FetchedChunk) -> None:
        bond = self.bonds.get(request.to.peer_id)
        if bond is None or bond.member != request.to:
            return
        snapshot = self.engine.snapshot
        if snapshot is None or snapshot.digest != request.digest:
            message = FetchedChunk(digest=request.digest, number=request.number, data=None)
        bond.send(Outgoing(to=request.to, history=self.engine.history, message=message))

    def _install(self, snapshot: Snapshot, tables: Tables, state: Any, now: float) -> None:
        if self.engine.install(snapshot, now):
            self.applier.restore(snapshot.base.last.index, tables, state)
            self.proposals.on_restored(tables.sessions, now)
            self.queries.serve(self.applier.index)

    def _fail(self, error: P2PRaftError) -> None:
        """Stop rather than forget."""
        logger.error("group %s stops on this node: %s", self.name, error)
        self.failure = error
        self.close()

    def _end(self) -> None:
        self._closing = True
        for bond in list(self.bonds.values()):
            bond.link.close("the member stops")
        self.bonds.clear()
        self._storage.close()
        error = self.failure or GroupClosed(f"group {self.name!r} is closed on this node")
        self.proposals.fail(error)
        self.queries.fail(error)
        self.tell(GroupEvent(kind="closed", term=self.engine.term, text=str(error)))
        self.events.close()
        self._notify()
        self._done.set()

    # --- bonds

    def add_bond(self, bond: Bond) -> bool:
        """Take a proven bond; False if the one that stands is to be kept (then close the new one)."""
        peer = bond.member.peer_id
        standing = self.bonds.get(peer)
        if self._closing:
            return False
        if standing is not None:
            same = standing.member == bond.member and standing.link.binding == bond.link.binding
            if same and not standing.link.closed and not _is_canonical(bond, self.me.peer_id):
                return False
            self._drop_bond(standing, "replaced by a newer bond")
        self.bonds[peer] = bond
        bond.renew(self.me.incarnation)  # we may have become another one during the handshake
        member = bond.member
        self._post(lambda now: self.engine.bond_up(member, now))
        self.tell(GroupEvent(kind="bond formed", term=self.engine.term, peer=peer, text=f"bonded with {peer.short}"))
        return True

    async def read_bond(self, bond: Bond) -> None:
        """Feed the engine with what comes over a bond, until it breaks."""
        try:
            bond.link.divert(lambda message: self._take(message, bond), self._turn_at_once)
            await bond.link.receive()
        except LinkClosed:
            pass
        finally:
            self._drop_bond(bond, bond.link.close_reason or "the connection broke")

    def _take(self, message: object, bond: Bond) -> None:
        if isinstance(message, Envelope):
            if len(self._inbox) >= MAX_INBOX:
                return  # as if the network had lost it: Raft repeats itself
            raft, history, sender = message.message, message.history, bond.member
            self._inbox.append(lambda now: self.engine.receive(raft, sender, now, history=history))
        elif isinstance(message, Departure):
            self._on_departure(message, bond)
        elif isinstance(message, Renewed):
            self._on_renewed(message, bond)
        elif isinstance(message, Twin):
            self.on_twin(message)
        else:
            bond.link.close(f"unexpected {type(message).__name__} on a bond")

    def _on_departure(self, message: Departure, bond: Bond) -> None:
        if message.ended and self.bonds.get(bond.member.peer_id) is bond:
            member = bond.member
            self._post(lambda now: self.engine.ended(member, now))
        self._drop_bond(bond, "the member stops")

    def _on_renewed(self, message: Renewed, bond: Bond) -> None:
        """Whoever is at the other end is another member from here on; what was sent to the former one is not for it."""
        member = replace(bond.member, incarnation=message.incarnation)
        if not member.is_later_than(bond.member):
            bond.link.close("it says that it has become an earlier incarnation")
            return
        bond.member = member
        if self.bonds.get(member.peer_id) is bond:
            self._post(lambda now: self.engine.bond_up(member, now))

    def _drop_bond(self, bond: Bond, reason: str) -> None:
        bond.link.close(reason)
        peer = bond.member.peer_id
        if self.bonds.get(peer) is not bond:
            return
        del self.bonds[peer]
        member = bond.member
        self._post(lambda now: self.engine.bond_down(member, now))
        text = f"lost the bond with {peer.short}: {reason}"
        self.tell(GroupEvent(kind="bond lost", term=self.engine.term, peer=peer, text=text))

    # --- callers

    def submit(self, commands: tuple[bytes, ...]) -> Call:
        """Queue commands, in the step in which :meth:`deadline_after` found the group open; the log settles the call."""
        alone = self.proposals.idle  # then there is nothing to gain by waiting for others to share an entry with
        call = self.proposals.add(commands)
        self._turn_soon(now=alone or self.proposals.unsent >= FULL_ENTRY)
        return call

    async def read_index(self, timeout: float) -> bool:
        """Wait until the local state may serve a read that began now, linearizably; False if it took too long."""
        deadline = self.deadline_after(timeout)
        alone = self.queries.idle
        read = self.queries.add()
        self._turn_soon(now=alone)
        try:
            self.expect(read.ready, deadline)
            done = await read.ready.wait()
        finally:
            if not read.ready.is_set():
                self.queries.withdraw(read)
        if read.failure:
            raise read.failure
        return done

    def deadline_after(self, timeout: float) -> float:
        """When a wait that begins now is over; in a forked child, which has no clock of the loop's, the group is closed."""
        self.check_open()
        return deadline_after(timeout, self._clock())

    def expect(self, flag: Flag, deadline: float) -> None:
        """Wake who is going to wait for a flag at ``deadline`` at the latest."""
        if not flag.is_set():
            self.deadlines.add(deadline, flag)

    def transfer(self, to: Member | None) -> None:
        """Ask the engine to hand over."""
        self._post(lambda now: void(self.engine.transfer_leadership(to, now)))

    def leave(self, *, leaving: bool = True) -> None:
        """Ask to be no voter any more, or take that back."""
        self._leaving = leaving
        self._post(lambda now: self.engine.leave(leaving=leaving))

    def may_found(self, waits: Waits | None) -> None:
        """Say what is still to be waited for before this member may found a history; None if nothing is."""
        before, self.waits_for = self.waits_for, waits
        if (waits is None) != (before is None):
            self._post(lambda now: self.engine.allow_founding(allowed=waits is None, now=now))
        if waits != before:
            self._notify()

    def recover(self, lost: Sequence[Member]) -> None:
        """Declare members lost for ever, on an operator's word."""
        self._post(lambda now: self.engine.recover(lost, now))

    def abandon(self) -> None:
        """Give up the history that this member holds, on an operator's word."""
        self._post(lambda now: self.engine.abandon(now))

    def allow_merge(self) -> None:
        """Let the history end in favour of a higher one, on an operator's word."""
        self._post(lambda now: self.engine.allow_merge(now))

    def fail(self, error: P2PRaftError) -> None:
        """End the group on this node, for a reason that lies outside it."""
        self._fail(error)

    async def wait_change(self) -> None:
        """Wait until anything that callers can see may have changed.

        Raises:
            GroupClosed: It never will again.
        """
        if self._done.is_set():
            raise self.failure or GroupClosed(f"group {self.name!r} is closed on this node")
        self._changed = self._changed or anyio.Event()
        await self._changed.wait()

    def tell(self, event: GroupEvent) -> None:
        """Hand an event to all who listen."""
        self.stats.on_event(event.kind, event.text)
        level = LOUD.get(event.kind, logging.DEBUG)
        if logger.isEnabledFor(level):
            peer = str(event.peer) if event.peer else None
            fields = {"group": self.name, "term": int(event.term), "peer": peer, "event": event.kind}
            logger.log(
                level,
                "group %s term %d peer %s: %s",
                self.name,
                event.term,
                event.peer.short if event.peer else "-",
                event.text,
                extra=fields,
            )
        self.events.put(event)
        self._notify()

    def wake(self) -> None:
        """Have another turn soon."""
        self._woken.set()

    @property
    def online(self) -> bool:
        """Whether commands can be expected to succeed: a leader is known and reachable, and a first commit was seen."""
        engine = self.engine
        leader = engine.leader
        if self._closing or leader is None or engine.commit == 0:
            return False
        return engine.is_leader or leader.peer_id in self.bonds

    @property
    def has_left(self) -> bool:
        """Whether nothing binds this member any more: it is no voter, by a committed change, or there is nobody else."""
        engine = self.engine
        alone = len(engine.voters) <= 1
        return alone or (self.me not in engine.voters and engine.has_committed_voters)

    @property
    def closed(self) -> bool:
        """Whether the worker stops or has stopped."""
        return self._closing

    def check_open(self) -> None:
        """Whether callers may ask for something.

        Raises:
            GroupClosed: They may not.
        """
        if self._closing:
            raise self.failure or GroupClosed(f"group {self.name!r} is closed on this node")
        if os.getpid() != self._pid:
            raise GroupClosed(
                f"group {self.name!r} was entered by process {self._pid}, and this is a fork of it: enter a Network of this "
                "process's own, or use multiprocessing's start method 'spawn'"
            )

    # --- inner workings

    def _post(self, action: Callable[[float], None]) -> None:
        self._inbox.append(action)
        self._woken.set()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def void(_: object) -> None:
    """Drop a result."""


def _is_canonical(bond: Bond, me: PeerId) -> bool:
    """Of two bonds over one connection, the one that the lower PeerId opened stays."""
    return bond.link.dialled == (me < bond.member.peer_id)
