"""Whole clusters of engines in virtual time, one seed, faults of all kinds, and the invariants after every step.

No I/O and no tasks: a heap of things that will happen. The same seed gives the same run.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from p2praft import ConsensusConfig, LeadershipPreference, PeerId
from p2praft.raft.catchup import digest_of
from p2praft.raft.effects import ChunkWrite, Effects, EventKind, SendChunk, StoreChunk, Write
from p2praft.raft.engine import Engine
from p2praft.raft.entries import Base, Commands, Snapshot
from p2praft.raft.histories.entries import source_of
from p2praft.raft.histories.messages import End
from p2praft.raft.histories.states import State as Life
from p2praft.raft.messages import FetchedChunk, Message
from p2praft.raft.types import Member, later_incarnation
from p2praft.storage import MemoryStorage
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.plan import CONFIG, Plan
from tests.simulation.state import State, carry, state_of

RECEIVING = 0.02
"""How often a peer is in the midst of a long message when a timer strikes."""
TRAIL = 5
"""Entries that stay before a snapshot: few, so that members often find the log compacted."""


@dataclass(slots=True, eq=False)
class Node:
    """One machine: its disk outlives its process."""

    number: int
    preference: LeadershipPreference
    storage: MemoryStorage
    engine: Engine | None = None
    bonds: dict[int, tuple[Member, int]] = field(default_factory=dict)
    writes: list[tuple[Write | ChunkWrite, Callable[[], None] | None]] = field(default_factory=list)
    state: State = field(default_factory=State)
    making: object = None
    leaving: bool = False
    gone: bool = False
    """Whether the machine will not come back."""
    met: bool = False
    disk: tuple[float, float] | None = None
    hung: bool = False
    wake_at: float = float("inf")
    reads: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    generation: int = 0
    starts: int = 0
    peer: PeerId = field(init=False)

    @property
    def alive(self) -> bool:
        return self.engine is not None

    def __post_init__(self) -> None:
        self.peer = PeerId(bytes([self.number]) * 32)

    @property
    def member(self) -> Member:
        """Who runs, or would."""
        if self.engine is not None:
            return self.engine.me
        return Member(self.peer, self.storage.incarnation, self.storage.volatile)


class World:
    """A run.

    Attributes:
        counts: Faults, elections, commits and the like, by name.
        transcript: What happened, for people; kept only if ``verbose``.

    Args:
        plan: What it is made of.
        verbose: Whether a transcript is kept.
        start: Whether the nodes start by themselves.
    """

    def __init__(self, plan: Plan, *, verbose: bool = False, start: bool = True) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.ledger = Ledger(self.counts)
        self.transcript: list[str] = []
        self._verbose = verbose
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self.ticket = count(1)
        self.cuts: set[tuple[int, int]] = set()
        self._epoch = count(1)
        self.loss = self.duplication = 0.0
        self.delay = (0.001, 0.02)
        self.disk = (0.0005, 0.005)
        self.faulty = True
        self.quiet_until = 0.0
        self.on_leader: Callable[[Node], None] | None = None
        total = plan.voters + plan.observers
        self.nodes = [self.make_node(number) for number in range(1, total + 1)]
        for node in self.nodes if start else ():
            self.after(self.rng.uniform(0, 0.3), lambda node=node: self.start(node))  # type: ignore[misc]
        if plan.apart:
            near = {node.number for node in self.nodes if node.number % 2}
            self.cut(near)
            self.after(self.rng.uniform(2, 8), self.heal)

    def make_node(self, number: int) -> Node:
        """A machine with an empty disk."""
        plan = self.plan
        preference = LeadershipPreference.NORMAL
        if plan.voters < number <= plan.voters + plan.observers:
            preference = LeadershipPreference.OBSERVER
        elif number <= plan.reluctant:
            preference = LeadershipPreference.reluctant(3)
        return Node(number, preference, self.new_storage())

    def new_storage(self) -> MemoryStorage:
        """An empty disk, or memory."""
        storage = MemoryStorage(incarnation=later_incarnation(bytes(8), self.rng.randbytes(4)), keep=True)
        storage.volatile = self.plan.volatile
        return storage

    # --- time

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self._queue, (self.now + delay, next(self.ticket), action))

    def step(self) -> bool:
        """Let the next thing happen; False if nothing will."""
        if not self._queue:
            return False
        at, _, action = heapq.heappop(self._queue)
        self.now = max(self.now, at)
        action()
        self.counts["steps"] += 1
        return True

    def run(self, until: float) -> None:
        """Let things happen until a time."""
        while self._queue and self._queue[0][0] <= until:
            self.step()
        self.now = max(self.now, until)

    def note(self, text: str) -> None:
        """A line of the transcript."""
        if self._verbose:
            self.transcript.append(f"{self.now:9.3f}  {text}")

    # --- nodes

    @property
    def config(self) -> ConsensusConfig:
        """What the nodes are configured with."""
        return ConsensusConfig(
            **{name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__ if name != "expect"},
            expect=self.plan.expect or self.plan.voters // 2 + 1,
        )

    def start(self, node: Node) -> None:
        """Start a node's process on what its disk holds."""
        if node.alive or node.gone:
            return
        node.generation += 1
        node.starts += 1
        restored = node.storage.load()
        node.engine = Engine(
            me=node.member,
            config=self.config,
            preference=node.preference,
            rng=random.Random(self.rng.getrandbits(32)),
            now=self.now,
            epoch=self.rng.uniform(-1e6, 1e9),  # clocks may be wrong by years
            restored=restored,
            write_through=self.plan.write_through,
            start=node.starts,
        )
        node.engine.trail = TRAIL
        node.engine.ctx.append_bytes = 300  # an entry or two: logs are often replicated in part
        node.engine.catch_up.far_behind, node.engine.catch_up.range = 12, 5
        if self.plan.gate and not node.met and len(self.nodes) > 1:
            node.engine.allow_founding(allowed=False, now=self.now)
        node.state = State()
        if restored.snapshot is not None:
            self._load_snapshot(node, restored.snapshot, pending=False)
        self.note(f"{node.number} starts")
        self.pump(node)
        for other in self.nodes:
            if other is not node:
                self.after(self.rng.uniform(0.01, 0.2), lambda other=other: self.bond(node, other))  # type: ignore[misc]

    def crash(self, node: Node, *, restart_after: float | None, empty: bool = False) -> None:
        """Kill a node's process: of the writes under way, a prefix has reached the disk.

        Args:
            node: Which.
            restart_after: Seconds until it starts again; None for never.
            empty: Its disk is lost too.
        """
        if not node.alive:
            return
        kept = 0 if node.hung else self.rng.choice([0, self.rng.randint(0, len(node.writes))])
        node.storage.write([write for write, _ in node.writes[:kept]])
        node.writes.clear()
        lost = self.plan.volatile or empty
        node.making = None
        node.engine = None
        node.reads.clear()
        node.hung = node.leaving = False
        node.wake_at = float("inf")
        if lost:
            self.ledger.excuse(node, self.nodes)
            node.storage = self.new_storage()
            node.state = State()
            node.starts = 0
        self.counts["crashes"] += 1
        self.note(f"{node.number} crashes{' and loses its disk' if lost else ''}, {kept} writes reached the disk")
        for other_number in list(node.bonds):
            other = self.node(other_number)
            epoch = node.bonds.pop(other_number)[1]
            delay = self.rng.choice([0.01, 0.3, 1.0])
            self.after(delay, lambda other=other, epoch=epoch: self._unbond_side(other, node.number, epoch))  # type: ignore[misc]
        if restart_after is not None:
            self.after(restart_after, lambda: self.start(node))

    def restart(self, node: Node) -> None:
        """Start a node's group anew on what its disk, or its memory, holds."""
        if node.engine is None:
            return
        for number in list(node.bonds):
            self.unbond(node, self.node(number))
        node.bonds.clear()
        node.making, node.engine = None, None
        node.reads.clear()
        node.writes.clear()
        node.wake_at = float("inf")
        self.start(node)

    def node(self, number: int) -> Node:
        """By its number."""
        return next(node for node in self.nodes if node.number == number)

    def crash_if_faulty(self, node: Node, restart_after: float) -> None:
        """Kill a node, unless all is to be calm by now."""
        if self.faulty:
            self.crash(node, restart_after=restart_after)

    def pump(self, node: Node) -> None:
        """Perform a node's effects and check what must hold."""
        engine = node.engine
        assert engine is not None
        self._perform(node, engine.take_effects())
        while self.plan.write_through and not engine.settled:
            self._perform(node, engine.take_effects())
        self._arm(node)

    def _perform(self, node: Node, effects: Effects) -> None:
        if effects.write is not None and self.plan.write_through:
            node.storage.write([effects.write])
        if effects.renewed is not None:
            self._renew(node, effects.renewed)
        if effects.restart:
            self.counts["revived"] += 1
            self.after(0.0, lambda: self.restart(node))
        for outgoing in effects.messages:
            self.send(node, outgoing.to.peer_id.key[0], outgoing.history, outgoing.message)
        if effects.write is not None and not self.plan.write_through:
            write = effects.write
            voted = write.state is not None and write.state.vote is not None
            if self.faulty and voted and self.rng.random() < 0.05 and not self.plan.volatile:
                # In the worst moment: the vote is not on the disk yet.
                self.after(0.0, lambda: self.crash(node, restart_after=0.01))
            self.write_later(node, write, lambda: self._persisted(node, write.serial))
        self.ledger.check(node, effects)
        self._apply(node, effects)
        for chunk in effects.chunks:
            if isinstance(chunk, SendChunk):
                self._give_chunk(node, chunk)
            else:
                self._store_chunk(node, chunk)
        if effects.restore is not None:
            self._restore_later(node, effects.restore)

    def _renew(self, node: Node, member: Member) -> None:
        """Everybody that is bonded hears, before anything else that leaves, who the node is now."""
        self.counts["renewed"] += 1
        self.note(f"{node.number} goes on as {member.incarnation.hex()}")
        for number, (_, epoch) in list(node.bonds.items()):
            other = self.node(number)
            if other.engine is not None and other.bonds.get(node.number, (None, 0))[1] == epoch:
                other.bonds[node.number] = (member, epoch)
                self.after(0.0, lambda other=other: self._hear_of_renewal(other, member))  # type: ignore[misc]

    def _hear_of_renewal(self, node: Node, member: Member) -> None:
        if node.engine is not None and node.bonds.get(member.peer_id.key[0], (None, 0))[0] == member:
            node.engine.bond_up(member, self.now)
            self.pump(node)

    def write_later(self, node: Node, write: Write | ChunkWrite, done: Callable[[], None] | None = None) -> None:
        """Have it reach the disk some time, with all that was written before."""
        generation = node.generation
        item = (write, done)
        node.writes.append(item)

        def finish() -> None:
            if node.generation != generation or not any(other is item for other in node.writes):
                return
            if node.hung:
                self.after(0.2, finish)
                return
            batch_size = next(at for at, other in enumerate(node.writes) if other is item) + 1
            batch = node.writes[:batch_size]
            del node.writes[:batch_size]
            if not self.plan.write_through:
                node.storage.write([write for write, _ in batch])
            for _, callback in batch:
                if callback is not None:
                    callback()
            self.pump(node)

        if not self.plan.write_through:
            self.after(self.rng.uniform(*(node.disk or self.disk)), finish)
            return
        node.storage.write([write])
        self.after(0.0, finish)  # it is stored; only the word of it comes later

    def _persisted(self, node: Node, serial: int) -> None:
        assert node.engine is not None
        node.engine.persisted(serial, self.now)

    # --- state machines

    def _apply(self, node: Node, effects: Effects) -> None:
        engine = node.engine
        assert engine is not None
        for event in effects.events:
            if event.kind is EventKind.ROLE and event.text.startswith("leader") and self.faulty:
                self._strike_new_leader(node)
            if event.kind in (EventKind.SEALED, EventKind.REBORN, EventKind.STRANDED, EventKind.DIFFERS):
                self.counts[event.kind.value] += 1
            if event.kind in (EventKind.CATCHING_UP, EventKind.YIELDED):
                self.counts[f"{event.kind.value}: {event.text.split()[1]}"] += 1
            self.note(f"{node.number}: {event.text}")
        if effects.reset:
            node.state = State()
            node.making = None
        for entry in effects.committed:
            if entry.index != node.state.applied + 1:
                raise Violation(f"state machine: {node.number} applies {entry.index} behind {node.state.applied}")
            node.state.apply(entry)
            self.ledger.check_chain(node)
            if self.rng.random() < self.plan.snapshots and node.making is None and not engine.catch_up.fetching:
                self._make_snapshot(node, engine.base_at(entry.index))

    def _strike_new_leader(self, node: Node) -> None:
        """In the moment in which a leader has begun to replicate what its predecessors left (paper, figure 8)."""
        if self.on_leader is not None:
            self.on_leader(node)
            return
        if len(self.nodes) < 3 or self.now < self.quiet_until or self.rng.random() > self.plan.struck:
            return
        self.counts["new leaders struck"] += 1
        others = [other.number for other in self.nodes if other is not node]
        kept = set(self.rng.sample(others, self.rng.randint(0, len(others) // 2)))
        moment = self.rng.uniform(0.0, 0.05)
        self.after(moment, lambda: self.cut({node.number, *kept}))
        if self.rng.random() < 0.7:
            self.after(moment + self.rng.uniform(0, 0.05), lambda: self.crash_if_faulty(node, self.rng.uniform(0.1, 2)))
        self.after(self.rng.uniform(0.2, 1.5), self.heal)

    def _make_snapshot(self, node: Node, base: Base) -> None:
        chunks = node.state.chunks()
        node.making = making = object()
        generation = node.generation
        delay = 0.0
        snapshot = Snapshot(
            base=base, chunks=len(chunks), digest=digest_of(hashlib.sha256(chunk).digest() for chunk in chunks)
        )

        def store(number: int) -> None:
            if node.generation == generation and node.making is making:
                self.write_later(node, ChunkWrite(number=number, data=chunks[number]))

        def finish() -> None:
            if node.generation == generation and node.making is making:
                node.making = None
                assert node.engine is not None
                node.engine.compact(snapshot, self.now)
                self.counts["snapshots made"] += 1
                self.pump(node)

        for number in range(len(chunks)):
            delay += self.rng.uniform(0, 0.05)
            self.after(delay, lambda number=number: store(number))  # type: ignore[misc]
        self.after(delay, finish)

    def _give_chunk(self, node: Node, request: SendChunk) -> None:
        generation = node.generation

        def give() -> None:
            if node.engine is None or node.generation != generation:
                return
            ctx = node.engine.ctx
            data = node.storage.chunk(request.number)
            if ctx.snapshot is None or ctx.snapshot.digest != request.digest:
                data = None
            answer = FetchedChunk(digest=request.digest, number=request.number, data=data)
            self.send(node, request.to.peer_id.key[0], ctx.history, answer)

        self.after(self.rng.uniform(0, 0.01), give)

    def _store_chunk(self, node: Node, chunk: StoreChunk) -> None:
        node.making = None

        def stored() -> None:
            assert node.engine is not None
            node.engine.chunk_stored(chunk.fetch, chunk.number, self.now)

        self.write_later(node, ChunkWrite(number=chunk.number, data=chunk.data), stored)

    def _restore_later(self, node: Node, snapshot: Snapshot) -> None:
        generation = node.generation

        def restore() -> None:
            if node.engine is None or node.generation != generation:
                return
            if node.engine.install(snapshot, self.now):
                self._load_snapshot(node, snapshot, pending=True)
                self.counts["snapshots taken"] += 1
                self.note(f"{node.number} takes a snapshot at {snapshot.base.last}")
            self.pump(node)

        self.after(self.rng.uniform(0, 0.05), restore)

    def _load_snapshot(self, node: Node, snapshot: Snapshot, *, pending: bool) -> None:
        chunks = [node.storage.chunk(at, pending=pending) for at in range(snapshot.chunks)]
        node.state = State.of(chunk for chunk in chunks if chunk is not None)
        if node.state.applied != snapshot.base.last.index:
            raise Violation(f"a snapshot at {snapshot.base.last} holds the state at {node.state.applied}")
        self.ledger.check_chain(node)

    def _arm(self, node: Node) -> None:
        assert node.engine is not None
        deadline = node.engine.deadline
        if deadline >= node.wake_at:
            return
        node.wake_at = deadline
        generation = node.generation

        def wake() -> None:
            if not node.alive or node.generation != generation or node.wake_at != deadline:
                return
            node.wake_at = float("inf")
            assert node.engine is not None
            self._show_signs_of_life(node)
            node.engine.tick(self.now)
            self.pump(node)

        self.after(max(0.0, deadline - self.now), wake)

    def _show_signs_of_life(self, node: Node) -> None:
        """As the worker does before a timer strikes: packets of a bonded peer come even when its messages say nothing."""
        assert node.engine is not None
        for number, (member, _) in node.bonds.items():
            if self.reaches(number, node.number) and self.node(number).alive:
                node.engine.sign_of_life(member, self.now, receiving=self.rng.random() < RECEIVING)

    # --- the network

    def reaches(self, a: int, b: int) -> bool:
        """Whether messages get from a to b."""
        return (a, b) not in self.cuts

    def cut(self, side: set[int]) -> None:
        """Nothing passes between a side and the rest."""
        for node in self.nodes:
            if node.number not in side:
                for a in side:
                    self.cuts |= {(a, node.number), (node.number, a)}

    def bond(self, a: Node, b: Node) -> None:
        """Bond two nodes, or try again later."""
        if not a.alive or not b.alive:
            return
        if b.number in a.bonds and a.number in b.bonds:
            return
        if not (self.reaches(a.number, b.number) and self.reaches(b.number, a.number)):
            self.after(self.rng.uniform(0.2, 0.6), lambda: self.bond(a, b))
            return
        epoch = next(self._epoch)
        for one, other in ((a, b), (b, a)):
            assert one.engine is not None
            one.met = True
            one.engine.allow_founding(allowed=True, now=self.now)
            one.bonds[other.number] = (other.member, epoch)
            one.engine.bond_up(other.member, self.now)
        self.pump(a)
        self.pump(b)

    def unbond(self, a: Node, b: Node) -> None:
        """Break a bond; each side notices in its own time."""
        for one, other in ((a, b), (b, a)):
            if other.number in one.bonds:
                epoch = one.bonds[other.number][1]
                delay = self.rng.uniform(0, 0.3)
                self.after(delay, lambda one=one, other=other, epoch=epoch: self._unbond_side(one, other.number, epoch))  # type: ignore[misc]
        self.counts["bonds broken"] += 1

    def _unbond_side(self, node: Node, other: int, epoch: int) -> None:
        if not node.alive or node.bonds.get(other, (None, 0))[1] != epoch:
            return
        member = node.bonds.pop(other)[0]
        assert node.engine is not None
        node.engine.bond_down(member, self.now)
        self.pump(node)
        peer = self.node(other)
        # The other side finds out at the latest when it is spoken to.
        if peer.bonds.get(node.number, (None, 0))[1] == epoch:
            self.after(self.rng.uniform(0, 0.3), lambda: self._unbond_side(peer, node.number, epoch))
        self.after(self.rng.uniform(0.3, 0.8), lambda: self.bond(node, peer))

    def send(self, node: Node, target: int, history: bytes, message: Message) -> None:
        """Put a message on its way: lost, doubled, late or out of order, as the dice say."""
        if target not in node.bonds:
            return
        epoch = node.bonds[target][1]
        sender = node.member
        copies = 1 + (self.rng.random() < self.duplication)
        for _ in range(copies):
            if self.rng.random() < self.loss:
                self.counts["messages lost"] += 1
                continue
            self.after(
                self.rng.uniform(*self.delay),
                lambda: self._arrive(sender, node.number, target, epoch, history, message),
            )

    def _arrive(self, sender: Member, source: int, target: int, epoch: int, history: bytes, message: Message) -> None:
        node = self.node(target)
        if not self.reaches(source, target):
            self.counts["messages cut"] += 1
            return
        if not node.alive or node.bonds.get(source, (None, 0))[1] != epoch:
            return
        assert node.engine is not None
        if self._verbose:
            self.note(f"{source} -> {target}  {message}")
        node.engine.receive(message, sender, self.now, history=history)
        self.pump(node)
        self.counts["messages"] += 1

    def heal(self) -> None:
        """All nodes reach each other, nothing is lost, disks are quick."""
        self.cuts.clear()
        self.loss = self.duplication = 0.0
        self.delay = (0.001, 0.02)
        self.disk = (0.0005, 0.005)
        for node in self.nodes:
            node.disk = None
            node.hung = False
        self.note("healed")

    # --- load

    def some_leader(self) -> Node | None:
        """A node that takes itself for the leader."""
        leaders = [node for node in self.nodes if node.engine is not None and node.engine.is_leader]
        return self.rng.choice(leaders) if leaders else None

    def load(self, node: Node | None = None) -> None:
        """Somebody proposes or reads; often who takes itself for the leader, be it or not."""
        if node is None:
            node = self.some_leader() if self.rng.random() < 0.3 else None
        node = node or self.rng.choice(self.nodes)
        if node.engine is None:
            return
        if self.rng.random() < 0.5:
            self.propose(node)
        else:
            request = next(self.ticket)
            history = node.engine.ctx.history
            node.reads[request] = (history, self.ledger.newest_acknowledged.get(history, 0))
            if not node.engine.read(request):
                del node.reads[request]
        self.pump(node)

    def propose(self, node: Node) -> bytes:
        """Have a node propose a word; which."""
        assert node.engine is not None
        word = self.rng.randbytes(8)
        node.engine.propose(next(self.ticket), Commands(session=1, first=1, settled=0, commands=(word,)))
        return word

    def carry_over(self, node: Node) -> None:
        """Have a node bring over what it has archived, as far as its history lacks it."""
        engine = node.engine
        if engine is None or engine.histories.state is not Life.LIVING or engine.commit == 0:
            return
        for archived in node.storage.archives():
            ended = archived.ended
            assert ended is not None
            if ended.how is End.REBORN or source_of(ended.branch) in node.state.carried:
                continue
            words = state_of(*node.storage.load_archive(archived.number), ended.branch.at.index).words
            if engine.propose(next(self.ticket), carry(ended, words)):
                self.counts["carried over"] += 1
        self.pump(node)


__all__ = ["CONFIG", "Node", "Plan", "Violation", "World"]
