"""Clients of a group under partitions, kills and changes of leader, in virtual time, judged by the checker."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import anyio
import pytest

from p2praft import GroupClosed, NotAuthorized, Offline, OutcomeUnknown
from tests.linearizability.cluster import LIVENESS, Cluster, Node, cluster
from tests.linearizability.machine import perform
from tests.linearizability.workload import Workload

pytestmark = pytest.mark.anyio

CLIENTS = 8
SECONDS = 20.0
"""Of virtual time under faults."""


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def client(name: str, it: Cluster, load: Workload, rng: random.Random, until: float) -> None:
    """One operation after the other, now through this member, now through that."""
    node = rng.choice(it.nodes)
    while anyio.current_time() < until:
        if node.group is None or rng.random() < 0.1:
            node = rng.choice(it.nodes)
        if node.group is not None:
            ticket, done = load.begin(f"{name} on {node.number}")
            timeout, linger = rng.choice([0.05, 0.5, 3.0]), rng.choice([0.0, 5.0])
            try:
                result = await perform(node.group, done.kind, done.key, done.argument, timeout=timeout, linger=linger)
            except Offline:
                load.refuse(ticket)
            except (OutcomeUnknown, GroupClosed):
                load.lose(ticket)
            else:
                load.end(ticket, result)
        await anyio.sleep(rng.uniform(0, 0.05))


class Faults:
    """Things go wrong, as the dice say.

    Attributes:
        counts: What went wrong, by kind.
    """

    def __init__(self, it: Cluster, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._it = it
        self._rng = rng
        self._killing = anyio.Lock()

    async def play(self, until: float) -> None:
        """One fault after the other, often several at a time; then all is healed and all run."""
        kinds = [self.partition, self.partition, self.one_way, self.kill, self.kill, self.weather]
        kinds += [self.transfer, self.deaf_transfer, self.deaf_transfer]
        async with anyio.create_task_group() as tasks:
            while anyio.current_time() < until:
                await anyio.sleep(self._rng.uniform(0, 1.5))
                tasks.start_soon(self._rng.choice(kinds))
        self.heal()

    def heal(self) -> None:
        """Everybody reaches everybody, quickly."""
        self._it.net.heal()
        self._it.net.latency, self._it.net.jitter, self._it.net.loss = 0.001, 0.002, 0.0

    async def partition(self) -> None:
        """Cut the hosts in two for a while."""
        hosts = [node.host for node in self._it.nodes]
        side = self._rng.sample(hosts, self._rng.randint(1, len(hosts) - 1))
        self.counts["partitions"] += 1
        self._it.net.partition(side, [host for host in hosts if host not in side])
        await anyio.sleep(self._rng.uniform(0.2, 7))
        self.heal()

    async def one_way(self) -> None:
        """One host, most often the leader's, is heard no more but hears, or the other way round."""
        node = self._leader() or self._rng.choice(self._it.nodes)
        self.counts["one-way cuts"] += 1
        await self._cut(node, deaf=self._rng.random() < 0.5)

    async def _cut(self, node: Node, *, deaf: bool) -> None:
        for other in self._it.nodes:
            if other is not node:
                a, b = (other, node) if deaf else (node, other)
                self._it.net.cut(a.host, b.host, one_way=True)
        await anyio.sleep(self._rng.uniform(0.2, 4))
        self.heal()

    async def kill(self) -> None:
        """Kill some and start them again: any of the durable ones; of the others a minority of a whole group."""
        async with self._killing:
            if not self._it.durable:
                with anyio.move_on_after(5):
                    while not self._it.whole:
                        await anyio.sleep(0.1)
                if not self._it.whole:
                    return
            victims = self._rng.sample(self._it.running, min(self._rng.choice([1, 1, 2]), len(self._it.running)))
            if (leader := self._leader()) is not None and self._rng.random() < 0.5 and leader not in victims:
                victims[:1] = [leader]
            self.counts["kills"] += len(victims)
            async with anyio.create_task_group() as tasks:
                for node in victims:
                    tasks.start_soon(self._it.kill, node)
        for node in victims:
            await anyio.sleep(self._rng.choice([0.0, self._rng.uniform(0, 4)]))
            await self._it.start(node)

    async def transfer(self) -> None:
        """Have the leader hand over."""
        leader = self._leader()
        if leader is not None and leader.group is not None:
            self.counts["transfers"] += 1
            try:
                await leader.group.transfer_leadership(timeout=2)
            except (Offline, NotAuthorized, GroupClosed):
                self.counts["transfers that failed"] += 1

    async def deaf_transfer(self) -> None:
        """The leader hands over and hears no more: its successor leads at once, and it does not know for a while."""
        leader = self._leader()
        if leader is not None:
            self.counts["deaf transfers"] += 1
            leader.worker.transfer(None)
            await self._cut(leader, deaf=True)

    async def weather(self) -> None:
        """Frames are slow or lost for a while."""
        self.counts["weather"] += 1
        self._it.net.latency = self._rng.choice([0.001, 0.1])
        self._it.net.jitter = self._rng.choice([0.01, 0.2])
        self._it.net.loss = self._rng.choice([0.0, 0.1])
        await anyio.sleep(self._rng.uniform(0.5, 4))
        self.heal()

    def _leader(self) -> Node | None:
        return next((node for node in self._it.running if node.worker.engine.is_leader), None)


async def run(seed: int, *, durable: bool, seconds: float = SECONDS) -> tuple[Workload, Counter[str]]:
    """Clients under faults, then calm: every member must answer again, and the history must be linearizable."""
    rng = random.Random(f"{seed} {durable}")
    async with cluster(5, durable=durable, rng=rng) as it:
        load = Workload(rng, anyio.current_time)
        faults = Faults(it, rng)
        until = anyio.current_time() + seconds
        terms = max(node.worker.engine.term for node in it.nodes)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(faults.play, until)
            for number in range(CLIENTS):
                tasks.start_soon(client, f"client {number}", it, load, rng, until)
        await it.wait_whole()
        for node in it.nodes:
            assert node.group is not None
            for key in load.keys:
                ticket, _ = load.begin_read(f"auditor on {node.number}", key)
                load.end(ticket, await perform(node.group, "read", key, None, timeout=LIVENESS))
        faults.counts["terms"] = max(node.worker.engine.term for node in it.nodes) - terms
    violation = load.judge()
    if violation is not None:
        kind = "durable" if durable else "in memory"
        raise AssertionError(f"seed {seed}, {kind}, {dict(faults.counts)}: {violation}")
    return load, faults.counts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "memory"])
async def test_a_group_is_linearizable_under_faults(seed: int, durable: bool) -> None:
    load, faults = await run(seed, durable=durable)
    assert load.counts["ok"] > 500
    assert faults["kills"] > 0
    assert faults["terms"] > 3
