"""Whole nodes on a network in memory, in virtual time."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from p2praft import (
    ApplyContext,
    ConsensusConfig,
    Group,
    GroupKey,
    LeadershipPreference,
    Network,
    StateMachine,
    Validator,
)
from transport import MemoryNetwork, PeerAddr, SecretKey
from transport.tasks import owned_tasks

KEY = GroupKey(b"k" * 32)
SKEW = 60.0
"""Seconds by which a node's wall clock is wrong, at most, either way."""


class Counter(StateMachine):
    """The ten lines of the README."""

    signature = "counter/1"

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if not isinstance(command, int):
            raise TypeError(f"not a number: {command!r}")
        self.value += command
        return self.value

    def query(self, query: Any) -> Any:
        return self.value

    def snapshot(self) -> Any:
        return self.value

    def restore(self, snapshot: Any) -> None:
        self.value = snapshot


@dataclass
class Node:
    """A node with its part in the group, in a task of its own."""

    host: str
    network: Network
    group: Group
    machine: Counter
    stopping: anyio.Event = field(default_factory=anyio.Event)
    stopped: anyio.Event = field(default_factory=anyio.Event)


@dataclass
class Lab:
    """Some nodes on one network in memory. Each is told of one other, and has a wall clock of its own."""

    net: MemoryNetwork
    config: ConsensusConfig
    tasks: TaskGroup
    nodes: list[Node] = field(default_factory=list)
    validators: tuple[Validator, ...] = ()
    make_machine: type[Counter] = Counter
    clocks: random.Random = field(default_factory=lambda: random.Random(0))
    began: float = field(default_factory=anyio.current_time)

    async def start(
        self,
        host: str,
        *,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        key: GroupKey | str = KEY,
        name: str = "lab",
        tags: tuple[str, ...] = (),
        seeds: Sequence[PeerAddr] | None = None,
        found: bool | None = None,
        epoch: float | None = None,
        identity: SecretKey | None = None,
        on_meeting: str = "seal",
    ) -> Node:
        """Start a node.

        Args:
            host: Where.
            preference: Whether it campaigns.
            key: The group's secret.
            name: Of the network.
            tags: Its words.
            seeds: Whom it is told of; the first node that runs if None.
            found: Whether it may begin the group.
            epoch: Its wall clock at the start of the network in memory; a little wrong if None.
            identity: Its key; a fresh one if None.
            on_meeting: What it does, if it leads, where it meets a part of the group that was founded apart.
        """
        if seeds is None:
            seeds = [node.network.address for node in self.nodes[:1]]
        if epoch is None:
            epoch = time.time() + self.clocks.uniform(-SKEW, SKEW)
        network = Network(
            name, identity=identity, listen=f"{host}:0", seeds=seeds, tags=tags, transport=self.net.transport(host)
        )
        network._wall_clock = lambda: epoch + anyio.current_time() - self.began
        node: Node = await self.tasks.start(self._run, host, network, preference, key, found, on_meeting)
        self.nodes.append(node)
        return node

    async def _run(
        self,
        host: str,
        network: Network,
        preference: LeadershipPreference,
        key: GroupKey | str,
        found: bool | None,
        on_meeting: str,
        *,
        task_status: TaskStatus[Node],
    ) -> None:
        machine = self.make_machine()
        async with network:
            handle = network.group(
                "line",
                secret=key,
                machine=machine,
                consensus=self.config,
                preference=preference,
                validators=self.validators,
                found=found,
                on_meeting=on_meeting,
            )
            async with handle as group:
                node = Node(host, network, group, machine)
                task_status.started(node)
                await node.stopping.wait()
        node.stopped.set()

    async def stop(self, node: Node) -> None:
        """Stop a node in good order."""
        self.nodes.remove(node)
        node.stopping.set()
        await node.stopped.wait()

    @property
    def leader(self) -> Node:
        """Who leads."""
        return next(node for node in self.nodes if node.group.is_leader)

    @property
    def followers(self) -> list[Node]:
        """Voters or spares that do not lead."""
        return [node for node in self.nodes if node.group.role == "follower"]

    async def online(self) -> None:
        """Wait until everybody can work."""
        with anyio.fail_after(60):
            for node in self.nodes:
                await node.group.when.online()


@asynccontextmanager
async def lab(
    count: int,
    *,
    observers: int = 0,
    expect: int = 0,
    seed: int = 0,
    snapshot_every: int = 10_000,
    machine: type[Counter] = Counter,
) -> AsyncIterator[Lab]:
    """Nodes that have founded a group; the last ``observers`` of them observe."""
    config = ConsensusConfig(expect=expect or count // 2 + 1, snapshot_every=snapshot_every)
    async with owned_tasks() as tasks:
        made = Lab(MemoryNetwork(seed, jitter=0.002), config, tasks, make_machine=machine)
        for number in range(count):
            await made.start(f"host-{number}")
        for number in range(observers):
            await made.start(f"watcher-{number}", preference=LeadershipPreference.OBSERVER)
        await made.online()
        yield made
