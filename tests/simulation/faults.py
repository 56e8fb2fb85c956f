"""What goes wrong in a simulated run."""

from __future__ import annotations

import itertools

from p2praft.raft.entries import Configuration
from p2praft.raft.histories.states import Wait
from tests.simulation.plan import FAULTS, RARE
from tests.simulation.world import Node, World

MAX_NODES = 12


class Faults:
    """Chooses faults by the world's dice."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._common = {name: getattr(self, name.replace(" ", "_")) for name in FAULTS}
        self._rare = {name: getattr(self, name.replace(" ", "_")) for name in RARE}

    def next(self) -> None:
        """One fault, as the dice say."""
        world = self.world
        if world.now < world.quiet_until:
            return
        leader = world.some_leader()
        node = leader if leader and world.rng.random() < 0.4 else world.rng.choice(world.nodes)
        rare = world.rng.random() < world.plan.rare
        name = world.rng.choice(RARE if rare else FAULTS)
        (self._rare if rare else self._common)[name](node)

    def end(self) -> None:
        """Calm: visitors are gone, who was switched off comes back, an operator looks after what waits for one."""
        world = self.world
        for node in world.nodes:
            if not node.alive and not node.gone:
                world.after(0.5, lambda node=node: world.start(node))  # type: ignore[misc]
        world.after(20.0, self._look_after)

    def _look_after(self) -> None:
        """An operator declares machines lost that will not come back, where somebody waits for them."""
        world = self.world
        for node in world.nodes:
            if node.engine is None or node.engine.histories.waits is None:
                continue
            wait, members = node.engine.histories.waits
            lost = [member for member in members if world.node(member.peer_id.key[0]).gone]
            if wait in (Wait.VOTERS, Wait.FOUNDER, Wait.HISTORY) and lost:
                node.engine.recover(lost, world.now)
                world.counts["recovered by an operator"] += 1
                world.pump(node)
        world.after(5.0, self._look_after)

    # --- common

    def partition(self, _: Node) -> None:
        """Cut the nodes in two, fully, or one way, or only some pairs."""
        world = self.world
        numbers = [node.number for node in world.nodes]
        side = set(world.rng.sample(numbers, world.rng.randint(1, len(numbers))))
        kind = world.rng.choice(["full", "full", "one way", "partial"])
        for a, b in itertools.product(sorted(side), sorted(set(numbers) - side)):
            if kind == "partial" and world.rng.random() < 0.5:
                continue
            world.cuts.add((a, b))
            if kind != "one way":
                world.cuts.add((b, a))
            if world.rng.random() < 0.5:
                world.unbond(world.node(a), world.node(b))
        world.counts["partitions"] += 1
        world.note(f"partition ({kind}): {sorted(side)}")

    def heal(self, _: Node) -> None:
        """All is well for a moment."""
        self.world.heal()

    def crash(self, node: Node) -> None:
        """A process dies; in memory, with all that it knew."""
        self.world.crash(node, restart_after=self.world.rng.uniform(0.05, 3))

    def weather(self, _: Node) -> None:
        """The network gets better or worse."""
        world = self.world
        world.loss = world.rng.choice([0.0, 0.05, 0.3])
        world.duplication = world.rng.choice([0.0, 0.1])
        world.delay = world.rng.choice([(0.001, 0.02), (0.001, 0.3), (0.05, 0.1)])
        world.counts["weather"] += 1

    def unbond(self, node: Node) -> None:
        """A bond breaks."""
        self.world.unbond(node, self.world.rng.choice(self.world.nodes))

    def slow_disk(self, node: Node) -> None:
        """Disks get slower or faster."""
        world = self.world
        node.disk = world.rng.choice([None, (0.05, 0.5)])
        world.disk = world.rng.choice([(0.0005, 0.005), (0.0005, 0.005), (0.01, 0.1)])

    def hung_disk(self, node: Node) -> None:
        """A disk takes nothing for a while, though the process runs."""
        if self.world.plan.write_through:
            return
        node.hung = True
        self.world.counts["hung disks"] += 1
        self.world.after(self.world.rng.uniform(1, 10), lambda: setattr(node, "hung", False))

    def clock(self, node: Node) -> None:
        """A wall clock jumps."""
        if node.engine is not None:
            node.engine.ctx.epoch += self.world.rng.uniform(-1e5, 1e5)
            self.world.counts["clock steps"] += 1

    def transfer(self, node: Node) -> None:
        """A leader hands over."""
        world = self.world
        if node.engine is not None and node.engine.transfer_leadership(None, world.now):
            world.counts["transfers"] += 1
            world.pump(node)

    def hand_over_and_be_cut_off(self, _: Node) -> None:
        """The one way to two leaders at a time that a failing network does not give: the old one hears no more."""
        world, leader = self.world, self.world.some_leader()
        if leader is None or leader.engine is None or not leader.engine.transfer_leadership(None, world.now):
            return
        world.pump(leader)
        world.counts["transfers"] += 1

        def cut() -> None:
            if world.faulty:
                world.cut({leader.number})
                world.note(f"{leader.number} is cut off after it handed over")

        world.after(world.rng.uniform(0.005, 0.06), cut)
        for at in range(10):
            world.after(0.05 * at, lambda: world.load(leader))

    def leave(self, node: Node) -> None:
        """Have a member leave for good; once it has, its machine is wiped, and comes back as somebody new."""
        world, engine = self.world, node.engine
        if engine is None or len(engine.voters) < 3 or engine.me not in engine.voters:
            return
        if any(other.leaving for other in world.nodes):
            return
        node.leaving = True
        engine.leave()
        world.counts["leaves"] += 1
        world.note(f"{node.number} leaves")
        world.pump(node)
        world.after(1.0, lambda: self._left(node))

    def _left(self, node: Node, tries: int = 15) -> None:
        world, engine = self.world, node.engine
        if engine is None or not engine.ctx.leaving:
            node.leaving = False  # it crashed meanwhile: whoever asked was told nothing, and it may be a voter again
            return
        newest = max(
            (
                e
                for e in world.ledger.committed.get(engine.ctx.history, {}).values()
                if isinstance(e.payload, Configuration)
            ),
            key=lambda e: e.index,
            default=None,
        )
        if newest is not None and isinstance(newest.payload, Configuration) and engine.me not in newest.payload.voters:
            world.counts["left"] += 1
            world.crash(node, restart_after=world.rng.uniform(0.1, 2), empty=True)
            return
        if tries == 0:
            engine.leave(leaving=False)
            node.leaving = False
            world.pump(node)
            return
        world.after(1.0, lambda: self._left(node, tries - 1))

    def figure_8(self, node: Node) -> None:
        """The way to an entry of an old term on a majority that a later leader replaces (paper, figure 8), by chance."""
        world, first = self.world, self.world.some_leader()
        if first is None or first.engine is None or len(first.engine.voters) < 5 or world.plan.volatile:
            return
        second = world.node(world.rng.choice([v for v in first.engine.voters if v != first.engine.me]).peer_id.key[0])
        world.heal()
        world.cut({first.number, second.number})
        world.propose(first)
        world.pump(first)
        world.counts["figures 8"] += 1

        def second_act() -> None:
            if world.faulty:
                world.crash(first, restart_after=1.0)
                world.heal()
                world.cut({second.number})
                world.on_leader = third_act

        def third_act(usurper: Node) -> None:
            if usurper in (first, second):
                return
            world.on_leader = fourth_act
            world.cuts.clear()
            world.cut({usurper.number})
            world.after(0.1, lambda: world.crash_if_faulty(usurper, world.rng.uniform(1, 3)))
            world.after(0.2, world.heal)

        def fourth_act(leader: Node) -> None:
            world.on_leader = None
            kept = world.rng.sample([other.number for other in world.nodes if other is not leader], 2)

            def strike() -> None:
                if world.faulty:
                    world.cut({leader.number, *kept})
                    world.crash(leader, restart_after=world.rng.uniform(2, 5))

            world.after(world.rng.uniform(0.01, 0.08), strike)
            world.after(0.3, world.heal)

        world.after(0.15, second_act)

    # --- rare: they begin, end or join histories

    def burn_disk(self, node: Node) -> None:
        """A machine loses its disk, others may be down."""
        if not self.world.plan.forgets:
            return
        self.world.counts["disks burnt"] += 1
        self.world.crash(node, restart_after=self.world.rng.uniform(0.1, 3), empty=True)

    def burn_majority(self, _: Node) -> None:
        """A majority of voters loses its disks at once."""
        world = self.world
        leader = world.some_leader()
        if leader is None or leader.engine is None or not world.plan.forgets:
            return
        voters = [world.node(voter.peer_id.key[0]) for voter in leader.engine.voters]
        for node in world.rng.sample(voters, len(voters) // 2 + 1):
            world.crash(node, restart_after=world.rng.uniform(0.1, 3), empty=True)
        world.counts["majorities burnt"] += 1

    def all_but_observers(self, _: Node) -> None:
        """All voters lose their memories; who only watches or stands by is left."""
        world = self.world
        leader = world.some_leader()
        if leader is None or leader.engine is None or not world.plan.forgets:
            return
        voters = {voter.peer_id.key[0] for voter in leader.engine.voters}
        if all(node.number in voters for node in world.nodes if node.alive):
            return
        for number in sorted(voters):
            world.crash(world.node(number), restart_after=world.rng.uniform(0.1, 3), empty=True)
        world.counts["only observers left"] += 1

    def old_copy(self, node: Node) -> None:
        """A data directory is put back as it was some seconds ago."""
        world, engine = self.world, node.engine
        # Of a minority only: what a majority has forgotten at once, nobody can tell it.
        if engine is None or world.plan.forgets or len(engine.voters) < 3 or world.counts["old copies"]:
            return
        held, number = node.storage.load(), node.starts
        incarnation = node.storage.incarnation
        chunks = [node.storage.chunk(at) for at in range(held.snapshot.chunks if held.snapshot else 0)]

        def put_back() -> None:
            if not world.faulty or not node.alive or world.counts["old copies"]:
                return
            if world.some_leader() is None or not all(other.alive or other.gone for other in world.nodes):
                return  # those that remember what it has acknowledged must be there to say so
            world.heal()
            world.quiet_until = world.now + 4
            world.crash(node, restart_after=None)
            world.ledger.excuse(node, world.nodes)
            storage = world.new_storage()
            storage.incarnation = incarnation
            storage.put(held, [chunk for chunk in chunks if chunk is not None])
            node.storage, node.starts = storage, number + 1
            world.counts["old copies"] += 1
            world.note(
                f"{node.number} gets an old copy of its disk, at {held.entries[-1].index if held.entries else 0}"
            )
            world.after(world.rng.uniform(0.1, 1), lambda: world.start(node))

        world.after(world.rng.uniform(1, 10), put_back)

    def visitor(self, _: Node) -> None:
        """A fresh machine comes, and is switched off for good after some seconds."""
        node = self._newcomer()
        if node is not None:
            self.world.counts["visitors"] += 1

            def go() -> None:
                node.gone = True
                self.world.ledger.excuse(node, self.world.nodes)
                self.world.crash(node, restart_after=None)

            self.world.after(self.world.rng.uniform(1, 6), go)

    def late_newcomer(self, _: Node) -> None:
        """A fresh machine that reaches nobody for a while; it may have founded by then."""
        node = self._newcomer()
        if node is not None:
            self.world.counts["late newcomers"] += 1
            self.world.cut({node.number})
            node.met = True

            def reach() -> None:
                self.world.cuts = {pair for pair in self.world.cuts if node.number not in pair}

            self.world.after(self.world.rng.uniform(1, 10), reach)

    def _newcomer(self) -> Node | None:
        world = self.world
        if len(world.nodes) >= MAX_NODES:
            return None
        node = world.make_node(max(other.number for other in world.nodes) + 1)
        node.storage.volatile = world.plan.volatile or world.rng.random() < 0.3
        world.nodes.append(node)
        world.after(0.0, lambda: world.start(node))
        return node

    def leave_and_crash(self, node: Node) -> None:
        """A voter leaves in the moment in which another dies."""
        world = self.world
        others = [other for other in world.nodes if other is not node and other.alive]
        self.leave(node)
        if node.leaving and others:
            world.crash(world.rng.choice(others), restart_after=world.rng.uniform(1, 10))
            world.counts["leaves with a crash"] += 1

    def recover(self, node: Node) -> None:
        """An operator declares lost what a stranded member waits for, and the machines are indeed gone: they come back empty."""
        world, engine = self.world, node.engine
        if engine is None or engine.histories.waits is None or engine.histories.waits[0] is not Wait.VOTERS:
            return
        lost = engine.histories.waits[1]
        machines = [world.node(member.peer_id.key[0]) for member in lost]
        if any(machine.alive for machine in machines):
            return
        for machine in machines:
            world.ledger.excuse(machine, world.nodes)
            machine.storage = world.new_storage()
        engine.recover(lost, world.now)
        world.counts["recovers"] += 1
        world.pump(node)

    def wrong_recover(self, node: Node) -> None:
        """An operator declares lost what is not."""
        world, engine = self.world, node.engine
        if engine is None or engine.histories.waits is None or engine.histories.waits[0] is not Wait.VOTERS:
            return
        engine.recover(engine.histories.waits[1], world.now)
        world.counts["wrong recovers"] += 1
        world.pump(node)

    def abandon(self, node: Node) -> None:
        """An operator gives up the history of a stranded member."""
        world, engine = self.world, node.engine
        if engine is None or engine.histories.waits is None or engine.histories.waits[0] is not Wait.VOTERS:
            return
        engine.abandon(world.now)
        world.counts["abandons"] += 1
        world.pump(node)
