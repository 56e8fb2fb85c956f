"""Whole clusters of engines in virtual time, one seed, faults of all kinds, and the invariants after every step.

No I/O and no tasks: a heap of things that will happen. The same seed gives the same run.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from p2praft import ConsensusConfig, LeadershipPreference, PeerId
from p2praft.raft.catchup import digest_of
from p2praft.raft.effects import ChunkWrite, Effects, EventKind, Readable, SendChunk, StoreChunk, Write
from p2praft.raft.engine import Engine
from p2praft.raft.leader import Leader
from p2praft.raft.messages import (
    Base,
    Configuration,
    FetchedChunk,
    Genesis,
    LogEntry,
    Member,
    Message,
    OpenSession,
    Snapshot,
)
from p2praft.storage import MemoryStorage

CONFIG = ConsensusConfig(
    heartbeat_interval=0.1,
    election_timeout=0.5,
    election_timeout_jitter=0.3,
    bootstrap_delay=0.5,
    voter_grace=3.0,
)


FAULTS = [
    "partition",
    "heal",
    "heal",
    "crash",
    "crash",
    "weather",
    "unbond",
    "transfer",
    "slow disk",
    "hand over and be cut off",
    "clock",
    "leave",
]

RECEIVING = 0.02
"""How often a peer is in the midst of a long message when a timer strikes."""
TRAIL = 5
"""Entries that stay before a snapshot: few, so that members often find the log compacted."""


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Plan:
    """What a run is made of; everything else follows from the seed."""

    seed: int
    voters: int
    observers: int = 0
    reluctant: int = 0
    volatile: bool = False
    write_through: bool = False
    """Whether writes take no time, as those of volatile members do in the worker."""
    expect: int = 0
    steps: int = 6000
    snapshots: float = 0.02
    """How likely a member takes a snapshot behind an entry."""

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan that a seed stands for."""
        rng = random.Random(f"plan {seed}")
        voters = rng.choice([1, 2, 3, 3, 3, 4, 5, 5, 6, 7, 8])
        volatile = rng.random() < 0.3
        return cls(
            seed=seed,
            voters=voters,
            observers=rng.choice([0, 0, 1, 2]) if voters < 8 else 1,
            reluctant=rng.choice([0, 0, 1]),
            volatile=volatile,
            write_through=volatile and seed % 2 == 0,
            # Most groups can be founded once only; in some two histories may be born, and one must yield.
            expect=voters // 2 + 1 if rng.random() < 0.9 else 1,
            snapshots=rng.choice([0.0, 0.02, 0.02, 0.1]),
        )

    @property
    def one_history(self) -> bool:
        """Whether ``expect`` is a majority of all that could found the group."""
        return self.expect > self.voters // 2


@dataclass(slots=True, eq=False)
class Node:
    """One machine: its disk outlives its process."""

    number: int
    preference: LeadershipPreference
    storage: MemoryStorage
    engine: Engine | None = None
    bonds: dict[int, tuple[Member, int]] = field(default_factory=dict)
    writes: list[tuple[Write | ChunkWrite, Callable[[], None] | None]] = field(default_factory=list)
    applied: int = 0
    chain: int = 0
    making: object = None
    leaving: bool = False
    disk: tuple[float, float] | None = None
    wake_at: float = float("inf")
    reads: dict[int, int] = field(default_factory=dict)
    generation: int = 0
    peer: PeerId = field(init=False)
    _member: Member | None = None

    @property
    def alive(self) -> bool:
        return self.engine is not None

    def __post_init__(self) -> None:
        self.peer = PeerId(bytes([self.number]) * 32)

    @property
    def member(self) -> Member:
        known = self._member
        if known is None or known.incarnation != self.storage.incarnation or known.volatile != self.storage.volatile:
            known = self._member = Member(self.peer, self.storage.incarnation, self.storage.volatile)
        return known


class World:
    """A run.

    Attributes:
        counts: Faults, elections, commits and the like, by name.
        transcript: What happened, for people; kept only if ``verbose``.
    """

    def __init__(self, plan: Plan, *, verbose: bool = False) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.transcript: list[str] = []
        self._verbose = verbose
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = count()
        self._cuts: set[tuple[int, int]] = set()
        self._epoch = count(1)
        self.loss = self.duplication = 0.0
        self.delay = (0.001, 0.02)
        self.disk = (0.0005, 0.005)
        self.faulty = True
        self._emptied = 0
        total = plan.voters + plan.observers
        self.nodes = [self._make_node(number) for number in range(1, total + 1)]
        # What must hold, as it became known.
        self.committed: dict[bytes, dict[int, LogEntry]] = {}
        self.geneses: dict[bytes, Genesis] = {}
        self.leaders: dict[tuple[bytes, int], Member] = {}
        self.acknowledged: dict[bytes, int] = {}
        self.chains: dict[tuple[bytes, int], int] = {}
        self.high: dict[tuple[Member, bytes], tuple[int, int, int]] = {}
        for node in self.nodes:
            self.after(self.rng.uniform(0, 0.3), lambda node=node: self.start(node))  # type: ignore[misc]

    def _make_node(self, number: int) -> Node:
        plan = self.plan
        preference = LeadershipPreference.NORMAL
        if number > plan.voters:
            preference = LeadershipPreference.OBSERVER
        elif number <= plan.reluctant:
            preference = LeadershipPreference.reluctant(3)
        return Node(number, preference, self._new_storage())

    def _new_storage(self) -> MemoryStorage:
        storage = MemoryStorage(incarnation=self.rng.randbytes(8), keep=True)
        storage.volatile = self.plan.volatile
        return storage

    # --- time

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self._queue, (self.now + delay, next(self._ticket), action))

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

    def start(self, node: Node) -> None:
        """Start a node's process on what its disk holds."""
        if node.alive:
            return
        node.generation += 1
        config = ConsensusConfig(
            **{name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__ if name != "expect"},
            expect=self.plan.expect or self.plan.voters // 2 + 1,
        )
        object.__setattr__(config, "snapshot_every", TRAIL)  # below what users may choose
        restored = node.storage.load()
        node.engine = Engine(
            me=node.member,
            config=config,
            preference=node.preference,
            rng=random.Random(self.rng.getrandbits(32)),
            now=self.now,
            epoch=self.rng.uniform(-1e6, 1e9),  # clocks may be wrong by years
            restored=restored,
            write_through=self.plan.write_through,
        )
        node.engine.catch_up.far_behind, node.engine.catch_up.range = 12, 5
        node.applied = node.chain = 0
        if restored.snapshot is not None:
            self._load_snapshot(node, restored.snapshot, pending=False)
        self.note(f"{node.number} starts")
        self.pump(node)
        for other in self.nodes:
            if other is not node:
                self.after(self.rng.uniform(0.01, 0.2), lambda other=other: self.bond(node, other))  # type: ignore[misc]

    def crash(self, node: Node, *, restart_after: float, empty: bool = False) -> None:
        """Kill a node's process: of the writes under way, a prefix has reached the disk."""
        if not node.alive:
            return
        kept = self.rng.choice([0, self.rng.randint(0, len(node.writes))])
        node.storage.write([write for write, _ in node.writes[:kept]])
        node.writes.clear()
        node.making = None
        node.engine = None
        node.reads.clear()
        node.wake_at = float("inf")
        lost = self.plan.volatile or empty
        if lost:
            node.storage = self._new_storage()
        self.counts["crashes"] += 1
        self.note(f"{node.number} crashes{' and loses its disk' if lost else ''}, {kept} writes reached the disk")
        for other_number in list(node.bonds):
            other = self.nodes[other_number - 1]
            epoch = node.bonds.pop(other_number)[1]
            delay = self.rng.choice([0.01, 0.3, 1.0])
            self.after(delay, lambda other=other, epoch=epoch: self._unbond_side(other, node.number, epoch))  # type: ignore[misc]
        self.after(restart_after, lambda: self.start(node))

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
        for outgoing in effects.messages:
            target = outgoing.to.peer_id.key[0]
            self.send(node, target, outgoing.history, outgoing.message)
        if effects.write is not None and not self.plan.write_through:
            write = effects.write
            voted = write.state is not None and write.state.vote is not None
            if self.faulty and voted and self.rng.random() < 0.05 and self.may_crash(node):
                # In the worst moment: the vote is not on the disk yet.
                self.after(0.0, lambda: self.crash(node, restart_after=0.01))
            self._write_later(node, write, lambda: self._persisted(node, write.serial))
        self._check(node, effects)
        self._apply(node, effects)
        for chunk in effects.chunks:
            if isinstance(chunk, SendChunk):
                self._give_chunk(node, chunk)
            else:
                self._store_chunk(node, chunk)
        if effects.restore is not None:
            self._restore_later(node, effects.restore)

    def _write_later(self, node: Node, write: Write | ChunkWrite, done: Callable[[], None] | None = None) -> None:
        """Have it reach the disk some time, with all that was written before."""
        generation = node.generation
        item = (write, done)
        node.writes.append(item)

        def finish() -> None:
            if node.generation != generation or not any(other is item for other in node.writes):
                return
            count = next(at for at, other in enumerate(node.writes) if other is item) + 1
            batch = node.writes[:count]
            del node.writes[:count]
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

    # --- state machines: a chain of checksums over all that was applied

    def _apply(self, node: Node, effects: Effects) -> None:
        assert node.engine is not None
        for event in effects.events:
            if event.kind in (EventKind.CATCHING_UP, EventKind.YIELDED):
                self.counts[f"{event.kind.value}: {event.text.split()[1]}"] += 1
        if effects.reset:
            node.applied = node.chain = 0
            node.making = None
        for entry in effects.committed:
            if entry.index != node.applied + 1:
                raise Violation(f"state machine: {node.number} applies {entry.index} behind {node.applied}")
            node.applied = entry.index
            node.chain = zlib.crc32(repr((node.chain, entry.term, entry.payload)).encode())
            self._check_chain(node)
            if self.rng.random() < self.plan.snapshots and node.making is None and not node.engine.catch_up.fetching:
                self._make_snapshot(node, node.engine.base_at(entry.index))

    def _check_chain(self, node: Node) -> None:
        assert node.engine is not None
        key = (node.engine.ctx.history, node.applied)
        if self.chains.setdefault(key, node.chain) != node.chain:
            raise Violation(f"state machine safety: the state of {node.number} at {node.applied} is not that of others")

    def _make_snapshot(self, node: Node, base: Base) -> None:
        state = b"%d %d" % (node.applied, node.chain)
        chunks = [state, *(bytes([at]) for at in range(node.applied % 4))]
        node.making = making = object()
        generation = node.generation
        delay = 0.0
        snapshot = Snapshot(
            base=base, chunks=len(chunks), digest=digest_of(hashlib.sha256(chunk).digest() for chunk in chunks)
        )

        def store(number: int) -> None:
            if node.generation == generation and node.making is making:
                self._write_later(node, ChunkWrite(number=number, data=chunks[number]))

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

        self._write_later(node, ChunkWrite(number=chunk.number, data=chunk.data), stored)

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
        state = node.storage.chunk(0, pending=pending)
        assert state is not None
        node.applied, node.chain = map(int, state.split())
        if node.applied != snapshot.base.last.index:
            raise Violation(f"a snapshot at {snapshot.base.last} holds the state at {node.applied}")
        self._check_chain(node)

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
            if self.reaches(number, node.number) and self.nodes[number - 1].alive:
                node.engine.sign_of_life(member, self.now, receiving=self.rng.random() < RECEIVING)

    # --- the network

    def reaches(self, a: int, b: int) -> bool:
        """Whether messages get from a to b."""
        return (a, b) not in self._cuts

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
        peer = self.nodes[other - 1]
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
        node = self.nodes[target - 1]
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

    # --- faults and load

    def partition(self) -> None:
        """Cut the nodes in two, fully, or one way, or only some pairs."""
        numbers = [node.number for node in self.nodes]
        side = set(self.rng.sample(numbers, self.rng.randint(1, len(numbers))))
        kind = self.rng.choice(["full", "full", "one way", "partial"])
        for a, b in itertools.product(side, set(numbers) - side):
            if kind == "partial" and self.rng.random() < 0.5:
                continue
            self._cuts.add((a, b))
            if kind != "one way":
                self._cuts.add((b, a))
            if self.rng.random() < 0.5:
                self.unbond(self.nodes[a - 1], self.nodes[b - 1])
        self.counts["partitions"] += 1
        self.note(f"partition ({kind}): {sorted(side)}")

    def heal(self) -> None:
        """All nodes reach each other, nothing is lost, disks are quick."""
        self._cuts.clear()
        self.loss = self.duplication = 0.0
        self.delay, self.disk = (0.001, 0.02), (0.0005, 0.005)
        for node in self.nodes:
            node.disk = None
        self.note("healed")

    def fault(self) -> None:
        """One fault, as the dice say."""
        leader = self.some_leader()
        node = leader if leader and self.rng.random() < 0.4 else self.rng.choice(self.nodes)
        kind = self.rng.choice(FAULTS)
        if kind == "partition":
            self.partition()
        elif kind == "heal":
            self.heal()
        elif kind == "crash" and self.may_crash(node):
            empty = not self.plan.volatile and self._emptied == 0 and self.plan.voters >= 3 and self.rng.random() < 0.1
            if empty and self._safe_to_empty():
                self._emptied += 1
                self.crash(node, restart_after=self.rng.uniform(0.1, 3), empty=True)
            else:
                self.crash(node, restart_after=self.rng.uniform(0.05, 3))
        elif kind == "weather":
            self.loss = self.rng.choice([0.0, 0.05, 0.3])
            self.duplication = self.rng.choice([0.0, 0.1])
            self.delay = self.rng.choice([(0.001, 0.02), (0.001, 0.3), (0.05, 0.1)])
            self.counts["weather"] += 1
        elif kind == "unbond":
            self.unbond(node, self.rng.choice(self.nodes))
        elif kind == "slow disk":
            node.disk = self.rng.choice([None, (0.05, 0.5)])
            self.disk = self.rng.choice([(0.0005, 0.005), (0.0005, 0.005), (0.01, 0.1)])
        elif kind == "hand over and be cut off" and leader is not None:
            self.hand_over_and_cut(leader)
        elif kind == "clock" and node.engine is not None:
            node.engine.ctx.epoch += self.rng.uniform(-1e5, 1e5)
            self.counts["clock steps"] += 1
        elif kind == "leave" and node.engine is not None:
            self.leave(node)
        elif kind == "transfer" and node.engine is not None and node.engine.transfer_leadership(None, self.now):
            self.counts["transfers"] += 1
            self.pump(node)

    def some_leader(self) -> Node | None:
        """A node that takes itself for the leader."""
        leaders = [node for node in self.nodes if node.engine is not None and node.engine.is_leader]
        return self.rng.choice(leaders) if leaders else None

    def hand_over_and_cut(self, leader: Node) -> None:
        """The one way to two leaders at a time that a failing network does not give: the old one hears no more."""
        assert leader.engine is not None
        if not leader.engine.transfer_leadership(None, self.now):
            return
        self.pump(leader)
        self.counts["transfers"] += 1

        def cut() -> None:
            if not self.faulty:
                return
            for other in self.nodes:
                if other is not leader:
                    self._cuts.update({(leader.number, other.number), (other.number, leader.number)})
            self.note(f"{leader.number} is cut off after it handed over")

        self.after(self.rng.uniform(0.005, 0.06), cut)
        for at in range(10):
            self.after(0.05 * at, lambda: self.load(leader))

    def leave(self, node: Node) -> None:
        """Have a member leave for good; once it has, its machine is wiped, and comes back as somebody new."""
        assert node.engine is not None
        if len(node.engine.voters) < 3 or node.member not in node.engine.voters or any(n.leaving for n in self.nodes):
            return
        node.leaving = True
        node.engine.leave()
        self.counts["leaves"] += 1
        self.note(f"{node.number} leaves")
        self.pump(node)
        self.after(1.0, lambda: self._left(node))

    def _left(self, node: Node) -> None:
        engine = node.engine
        if engine is not None and not engine.ctx.leaving:
            node.leaving = False  # it crashed meanwhile: whoever asked was told nothing, and it may be a voter again
            return
        if engine is not None and engine.ctx.founded:
            newest = max(
                (
                    e
                    for e in self.committed.get(engine.ctx.history, {}).values()
                    if isinstance(e.payload, Configuration)
                ),
                key=lambda e: e.index,
                default=None,
            )
            if newest is not None and node.member not in newest.payload.voters:  # type: ignore[union-attr]
                self.counts["left"] += 1
                self.crash(node, restart_after=self.rng.uniform(0.1, 2), empty=True)
                node.leaving = False
                return
        self.after(1.0, lambda: self._left(node))

    def may_crash(self, node: Node) -> bool:
        """With memories that die, only one member at a time may be lost before the others have made up for it."""
        if not self.plan.volatile:
            return True
        present = {other.member for other in self.nodes if other.alive}
        founded = [other for other in self.nodes if other.engine is not None and other.engine.ctx.founded]
        if not founded:
            return True
        leader = next((other for other in founded if other.engine is not None and other.engine.is_leader), None)
        if leader is None or leader.engine is None:
            return False
        engine = leader.engine
        assert isinstance(engine.role, Leader)
        full = all(voter in present for voter in engine.voters)
        caught_up = all(
            other.engine is not None and other.engine.commit == engine.commit == engine.last.index
            for other in self.nodes
            if other.alive and other.member in engine.voters
        )
        return full and caught_up and len(engine.voters) >= 3 and engine.ctx.history in self.committed

    def _safe_to_empty(self) -> bool:
        """A disk may only burn while the voters without it are a majority that holds all."""
        histories = {node.engine.ctx.history for node in self.nodes if node.engine is not None}
        voters = [node.engine.voters for node in self.nodes if node.engine is not None]
        founded = all(node.engine is not None and node.engine.ctx.founded for node in self.nodes)
        return founded and len(histories) == 1 and all(len(v) >= 3 for v in voters)

    def load(self, node: Node | None = None) -> None:
        """Somebody proposes or reads; often who takes itself for the leader, be it or not."""
        if node is None:
            node = self.some_leader() if self.rng.random() < 0.3 else None
        node = node or self.rng.choice(self.nodes)
        if node.engine is None:
            return
        if self.rng.random() < 0.5:
            node.engine.propose(next(self._ticket), OpenSession(nonce=self.rng.randbytes(16)))
        else:
            request = next(self._ticket)
            history = node.engine.ctx.history
            node.reads[request] = self.acknowledged.get(history, 0)
            if not node.engine.read(request):
                del node.reads[request]
        self.pump(node)

    # --- what must hold

    def _check(self, node: Node, effects: Effects) -> None:
        engine = node.engine
        assert engine is not None
        history = engine.ctx.history
        self._check_monotonic(node, history)
        if isinstance(engine.role, Leader):
            self._check_leader(node, history)
        committed = self.committed.setdefault(history, {}) if effects.committed else {}
        for entry in effects.committed:
            known = committed.setdefault(entry.index, entry)
            if known != entry:
                raise Violation(f"state machine safety: {node.number} commits {entry}, but {known} was committed there")
            if isinstance(entry.payload, OpenSession) and entry.proposer == node.peer:
                self.acknowledged[history] = max(self.acknowledged.get(history, 0), entry.index)
                self.counts["acknowledged"] += 1
        for answer in effects.answers:
            if isinstance(answer, Readable) and (expected := node.reads.pop(answer.request, None)) is not None:
                if answer.index and answer.index < expected:
                    raise Violation(
                        f"linearizability: {node.number} may read at {answer.index}, but {expected} was acknowledged before"
                    )
                self.counts["reads"] += answer.index > 0
        if history not in self.geneses and engine.ctx.commit:
            self._check_one_history(history, engine.ctx.genesis)

    def _check_monotonic(self, node: Node, history: bytes) -> None:
        engine = node.engine
        assert engine is not None
        key = (node.member, history)
        generation, term, commit = self.high.get(key, (0, 0, 0))
        if generation == node.generation and engine.commit < commit:
            raise Violation(f"monotonic commit: {node.number} went from {commit} back to {engine.commit}")
        if engine.term < term and generation == node.generation:
            raise Violation(f"monotonic term: {node.number} went from {term} back to {engine.term}")
        self.high[key] = (node.generation, engine.term, engine.commit)

    def _check_one_history(self, history: bytes, genesis: Genesis | None) -> None:
        """With a majority to expect, a second history has a founder of the first; if none remembers it, it is a new group."""
        assert genesis is not None
        for other, known in self.geneses.items():
            if self.plan.one_history and (both := set(known.founders) & set(genesis.founders)):
                raise Violation(
                    f"one history a group: {', '.join(map(str, both))} founded {other.hex()} and {history.hex()}"
                )
        self.geneses[history] = genesis

    def _check_leader(self, node: Node, history: bytes) -> None:
        engine = node.engine
        assert engine is not None
        key = (history, engine.term)
        known = self.leaders.get(key)
        if known is None:
            self.leaders[key] = node.member
            self.counts["elections"] += 1
            self.note(f"{node.number} leads term {engine.term}")
            for index, entry in self.committed.get(history, {}).items():
                if index > engine.ctx.log.base.index and engine.ctx.log.term_at(index) != entry.term:
                    raise Violation(
                        f"leader completeness: {node.number} leads term {engine.term} without entry {index}"
                    )
        elif known != node.member:
            raise Violation(f"election safety: {known} and {node.member} both lead term {engine.term}")

    def check_logs(self) -> None:
        """Log matching: two logs with the same position agree on all before it (paper, figure 3)."""
        logs = [node.engine.ctx.log for node in self.nodes if node.engine is not None]
        histories = [node.engine.ctx.history for node in self.nodes if node.engine is not None]
        for (log_a, a), (log_b, b) in itertools.combinations(zip(logs, histories, strict=True), 2):
            if a != b:
                continue
            same = False
            first = max(log_a.base.index, log_b.base.index) + 1
            last = max(min(log_a.last.index, log_b.last.index), first - 1)
            for one, other in zip(
                reversed(log_a.between(first, last)), reversed(log_b.between(first, last)), strict=True
            ):
                agree = one is other or one == other
                if same and not agree:
                    raise Violation(f"log matching: two logs differ at {one.index} though they agree behind it")
                same = same or one.term == other.term
                if same and not agree:
                    raise Violation(f"log matching: two entries at {one.index} of one term differ")

    # --- a whole run

    def play(self) -> Counter[str]:
        """Faults and load, then calm: the cluster must elect and commit again, with everything there."""
        for at in range(self.plan.steps // 10):
            for _ in range(10):
                self.step()
            if self.rng.random() < 0.25:
                self.load()
            if self.rng.random() < 0.05:
                self.fault()
            if at % 10 == 0:
                self.check_logs()
        self.faulty = False
        self.heal()
        self.settle()
        return self.counts

    def settle(self, bound: float = 60.0) -> None:
        """After all is healed: bounded time until somebody leads and every live node has committed a fresh entry."""
        end = self.now + bound
        while self.now < end:
            self.run(self.now + 1.0)
            leader = next((n for n in self.nodes if n.engine is not None and n.engine.is_leader), None)
            if leader is None or not all(node.alive for node in self.nodes):
                continue
            assert leader.engine is not None
            nonce = self.rng.randbytes(16)
            leader.engine.propose(next(self._ticket), OpenSession(nonce=nonce))
            self.pump(leader)
            self.run(self.now + 1.0)
            if all(self._has(node, nonce) for node in self.nodes):
                self.check_logs()
                self._check_nothing_lost(leader)
                return
        states = [
            (
                n.number,
                n.engine.role.name,
                n.engine.term,
                n.engine.commit,
                [str(v)[:2] for v in n.engine.voters],
                n.engine.ctx.history.hex()[:4],
            )
            for n in self.nodes
            if n.engine is not None
        ]
        raise Violation(f"liveness: no fresh commit on every node within {bound:g} s of calm: {states}")

    def _has(self, node: Node, nonce: bytes) -> bool:
        if node.engine is None:
            return False  # it was leaving, and has gone to come back as somebody new
        log = node.engine.ctx.log
        tail = log.between(max(log.base.index + 1, node.engine.commit - 20), node.engine.commit)
        return any(isinstance(entry.payload, OpenSession) and entry.payload.nonce == nonce for entry in tail)

    def _check_nothing_lost(self, leader: Node) -> None:
        assert leader.engine is not None
        log = leader.engine.ctx.log
        for index, entry in self.committed[leader.engine.ctx.history].items():
            if index > log.base.index and log.slice(index, index, 1 << 30) != (entry,):
                raise Violation(f"nothing acknowledged is lost: entry {index} is not in the leader's log")


def play(seed: int, *, verbose: bool = False, plan: Plan | None = None) -> Counter[str]:
    """One run; a failure says how to replay it."""
    world = World(plan or Plan.of(seed), verbose=verbose)
    try:
        return world.play()
    except Exception as error:
        tail = "\n".join(world.transcript[-60:])
        raise Violation(
            f"seed {seed}, {world.plan}, at {world.now:.3f} s: {error!r}\n"
            f"replay: python -m tests.simulation --seed {seed} --verbose\n{tail}"
        ) from error
