"""Whole nodes on a network in memory, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
from transport import MemoryNetwork
from transport.tasks import owned_tasks

KEY = GroupKey(b"k" * 32)


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
    """Some nodes on one network in memory."""

    net: MemoryNetwork
    config: ConsensusConfig
    tasks: TaskGroup
    nodes: list[Node] = field(default_factory=list)
    validators: tuple[Validator, ...] = ()
    make_machine: type[Counter] = Counter

    async def start(
        self,
        host: str,
        *,
        preference: LeadershipPreference = LeadershipPreference.NORMAL,
        key: GroupKey | str = KEY,
        name: str = "lab",
        tags: tuple[str, ...] = (),
    ) -> Node:
        """Start a node; its seeds are all nodes before it."""
        node: Node = await self.tasks.start(self._run, host, preference, key, name, tags)
        self.nodes.append(node)
        return node

    async def _run(
        self,
        host: str,
        preference: LeadershipPreference,
        key: GroupKey | str,
        name: str,
        tags: tuple[str, ...],
        *,
        task_status: TaskStatus[Node],
    ) -> None:
        seeds = [node.network.address for node in self.nodes]
        machine = self.make_machine()
        transport = self.net.transport(host)
        async with Network(name, listen=f"{host}:0", seeds=seeds, tags=tags, transport=transport) as network:
            handle = network.group(
                "line",
                secret=key,
                machine=machine,
                consensus=self.config,
                preference=preference,
                validators=self.validators,
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
