"""A group of whole nodes on a network in memory, in virtual time, that can be cut, killed and started again."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup, TaskStatus

from p2praft import ConsensusConfig, Group, GroupId, GroupKey, Network, SecretKey
from p2praft.groups.worker import Worker
from p2praft.storage import MemoryStorage, Storage
from tests.linearizability.machine import Registers
from transport import MemoryNetwork
from transport.tasks import owned_tasks

KEY = GroupKey(b"k" * 32)
LIVENESS = 120.0
"""Virtual seconds after which a whole and healed group that does not work counts as hanging."""


class KeptNetwork(Network):
    """A node whose log is kept as long as the test wants: a disk that needs no thread, so that virtual time can jump."""

    kept: MemoryStorage

    def _storage(self, group_id: GroupId) -> Storage:
        return self.kept


@dataclass(eq=False)
class Node:
    """One machine: its key, and its disk if it is durable, outlive its process.

    Attributes:
        group: Of the process that runs now; None while there is none.
    """

    number: int
    key: SecretKey
    storage: MemoryStorage
    group: Group | None = None
    address: str = ""
    process: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def host(self) -> str:
        """Its name in the network in memory."""
        return f"host-{self.number}"

    @property
    def worker(self) -> Worker:
        """The inner workings of the running process."""
        assert self.group is not None
        return self.group._worker


class Cluster:
    """Some nodes of one group.

    Args:
        count: How many.
        durable: Whether their logs survive their processes.
        rng: All dice of the nodes and the network.
        tasks: Own the nodes.
    """

    def __init__(self, count: int, *, durable: bool, rng: random.Random, tasks: TaskGroup) -> None:
        self.durable = durable
        self.net = MemoryNetwork(rng.getrandbits(32), jitter=0.002)
        self.config = ConsensusConfig(expect=count // 2 + 1)
        self.nodes = [Node(number, SecretKey.generate(), self._disk()) for number in range(count)]
        self._rng = rng
        self._tasks = tasks

    def _disk(self) -> MemoryStorage:
        disk = MemoryStorage(keep=self.durable)
        disk.volatile = not self.durable
        return disk

    async def start(self, node: Node) -> None:
        """Start a node's process; the others that ever ran are its seeds."""
        if not self.durable:
            node.storage = self._disk()
        await self._tasks.start(self._run, node)

    async def _run(self, node: Node, *, task_status: TaskStatus[None]) -> None:
        seeds = [other.address for other in self.nodes if other is not node and other.address]
        node.process, node.ended = anyio.CancelScope(), anyio.Event()
        network = KeptNetwork(
            "lab",
            identity=node.key,
            listen=f"{node.host}:0",
            seeds=seeds,
            transport=self.net.transport(node.host),
        )
        network.kept = node.storage
        network._rng = random.Random(self._rng.getrandbits(64))
        with node.process:
            async with network, network.group("g", secret=KEY, machine=Registers(), consensus=self.config) as group:
                node.group, node.address = group, str(network.address)
                task_status.started()
                await anyio.sleep_forever()
        node.ended.set()

    async def kill(self, node: Node) -> None:
        """The node falls silent at once; its peers notice when they do."""
        self.net.crash(node.host)
        node.group = None
        node.process.cancel()
        await node.ended.wait()

    @property
    def running(self) -> list[Node]:
        """Nodes that have a process."""
        return [node for node in self.nodes if node.group is not None]

    @property
    def whole(self) -> bool:
        """Whether all run, vote as what they are now, and agree that they do: a minority may then be lost for good."""
        if len(self.running) < len(self.nodes):
            return False
        members = {node.worker.me for node in self.nodes}
        engines = [node.worker.engine for node in self.nodes]
        commit = max(engine.commit for engine in engines)
        return all(
            {*engine.voters} == members and engine.ctx.log.voters_index <= engine.commit == commit for engine in engines
        )

    async def wait_whole(self) -> None:
        """Wait until the group is whole and online everywhere."""
        with anyio.fail_after(LIVENESS):
            while not self.whole or not all(node.worker.online for node in self.nodes):
                await anyio.sleep(0.05)


@asynccontextmanager
async def cluster(count: int, *, durable: bool, rng: random.Random) -> AsyncIterator[Cluster]:
    """Nodes that have founded a group and are all voters of it."""
    async with owned_tasks() as tasks:
        made = Cluster(count, durable=durable, rng=rng, tasks=tasks)
        for node in made.nodes:
            await made.start(node)
        await made.wait_whole()
        yield made
