"""For tests of one's own state machines: whole groups in memory, with faults, in virtual time.

::

    from p2praft.testing import Cluster, run

    async def sell_while_the_leader_is_cut_off():
        async with Cluster(3, Till) as tills:
            cut = await tills.wait_leader()
            tills.isolate(cut)
            successor = await tills.wait_leader(other_than=cut)
            assert await successor.group.execute("sell") == 1
            tills.heal()
            await tills.wait_settled()
            assert [till.machine.sold for till in tills] == [1, 1, 1]

    def test_no_ticket_is_sold_twice():
        run(sell_while_the_leader_is_cut_off)   # minutes of virtual time are seconds of yours

Everything that runs is what runs in production, but for the sockets. ``run`` needs ``trio``, whose clock can jump; in a suite that
uses anyio's pytest plugin, let the fixture ``anyio_backend`` return :func:`virtual_time` instead. Without either, a cluster
runs on any event loop in real time.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus

from p2praft.config import ConsensusConfig, LeadershipPreference
from p2praft.errors import ConfigError, GroupClosed
from p2praft.groups.group import Group
from p2praft.groups.key import GroupKey
from p2praft.groups.machine import StateMachine
from p2praft.network import Network
from transport import MemoryNetwork, SecretKey
from transport.tasks import owned_tasks

__all__ = ["Cluster", "ClusterMember", "MemoryNetwork", "run", "virtual_time"]

M = TypeVar("M", bound=StateMachine)
T = TypeVar("T")

PATIENCE = 60.0
"""Seconds, virtual or not, that the ``wait_…`` methods wait at most, unless told otherwise."""


def virtual_time() -> tuple[str, dict[str, Any]]:
    """What anyio's pytest plugin wants of the fixture ``anyio_backend``: an event loop whose clock jumps to whatever is next.

    Raises:
        ConfigError: ``trio`` is not installed.
    """
    try:
        clocks = importlib.import_module("trio.testing")  # for tests only; the library runs on any of anyio's loops
    except ImportError:
        raise ConfigError("virtual time needs the package 'trio': pip install trio") from None
    return "trio", {"clock": clocks.MockClock(autojump_threshold=0)}


def run(scenario: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run ``scenario(*arguments)`` in virtual time, from an ordinary function; its result."""
    backend, options = virtual_time()
    return anyio.run(scenario, *arguments, backend=backend, backend_options=options)


@dataclass(eq=False, kw_only=True)
class ClusterMember(Generic[M]):
    """One node of a cluster, with its part in the group.

    Attributes:
        host: Its name in the cluster's network in memory.
        machine: This member's replica.
        network: The node.
        group: Its handle of the group: commands, queries, state.
        alive: Whether it runs.
    """

    host: str
    machine: M
    network: Network
    group: Group
    alive: bool = True
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope, repr=False)
    _stop: anyio.Event = field(default_factory=anyio.Event, repr=False)
    _stopped: anyio.Event = field(default_factory=anyio.Event, repr=False)


class Cluster(Generic[M]):
    """Nodes in one process that replicate a state machine; entering waits until all can work.

    No member knows more than one of a fleet would: it finds its own address, its wall clock is a little wrong, and it is
    told of one other. At the start that is the first member, which is told of nobody; at a restart it is any that runs.

    Args:
        nodes: How many that may vote.
        machine: Makes one member's replica: the machine's class, or a function without arguments.
        observers: How many more that only observe.
        consensus: Settings of the group; by default ``expect`` is a majority of the nodes.
        seed: Of the network's dice.
        latency: Seconds that a message takes.
        jitter: Up to this many seconds more.
        loss: Probability that a message must be sent again.
        skew: Seconds by which a member's wall clock is wrong, at most, either way; each has a clock of its own.

    Attributes:
        net: The network in memory, for faults finer than those here.
    """

    def __init__(
        self,
        nodes: int,
        machine: Callable[[], M],
        *,
        observers: int = 0,
        consensus: ConsensusConfig | None = None,
        seed: int = 0,
        latency: float = 0.001,
        jitter: float = 0.002,
        loss: float = 0.0,
        skew: float = 60.0,
    ) -> None:
        if nodes < 1 or observers < 0:
            raise ConfigError(
                f"a cluster has at least one node, not {nodes}, and {observers} observers are not possible"
            )
        self.net = MemoryNetwork(seed, latency=latency, jitter=jitter, loss=loss)
        self._make = machine
        self._config = consensus or ConsensusConfig(expect=min(nodes // 2 + 1, 5))
        self._secret = GroupKey.generate()
        hosts = [f"node-{number}" for number in range(nodes)] + [f"observer-{number}" for number in range(observers)]
        dice = random.Random(seed)
        self._epochs = {host: time.time() + dice.uniform(-skew, skew) for host in hosts}
        self._keys = {host: SecretKey.generate() for host in hosts}
        self._members: dict[str, ClusterMember[M]] = {}
        self._began = 0.0
        self._owner = owned_tasks()
        self._tasks: TaskGroup | None = None

    # --- life

    async def __aenter__(self) -> Self:
        self._tasks = await self._owner.__aenter__()
        self._began = anyio.current_time()
        try:
            for host in self._keys:
                await self._start(host)
            await self.wait_online()
        except BaseException:
            await self._owner.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._owner.__aexit__(None, None, None)

    # --- members

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[ClusterMember[M]]:
        return iter(self._members.values())

    def __getitem__(self, number: int) -> ClusterMember[M]:
        """In the order of their making; observers are the last."""
        return list(self._members.values())[number]

    @property
    def alive(self) -> list[ClusterMember[M]]:
        """Those that run."""
        return [member for member in self if member.alive]

    @property
    def leader(self) -> ClusterMember[M] | None:
        """Who leads in the latest term that any leader knows of; a leader that is cut off still believes that it leads."""
        leaders = [member for member in self.alive if member.group.is_leader]
        return max(leaders, key=lambda member: member.group.term, default=None)

    @property
    def followers(self) -> list[ClusterMember[M]]:
        """Those that run and do not lead, observers aside."""
        return [member for member in self.alive if member is not self.leader and member.group.role != "observer"]

    # --- faults

    def partition(self, *parts: ClusterMember[M] | Iterable[ClusterMember[M]]) -> None:
        """Nothing passes between the parts; members that are not named are one more part."""
        sets = [{part.host} if isinstance(part, ClusterMember) else {member.host for member in part} for part in parts]
        rest = set(self._keys).difference(*sets)
        self.net.partition(*sets, rest)

    def isolate(self, member: ClusterMember[M]) -> None:
        """Nothing passes between a member and the others."""
        self.partition(member)

    def heal(self) -> None:
        """Everything passes again."""
        self.net.heal()

    def crash(self, member: ClusterMember[M]) -> None:
        """Take a member's power away: it says no goodbye, and its memory is gone."""
        self._check_alive(member)
        self.net.crash(member.host)
        member.alive = False
        member._scope.cancel()

    async def stop(self, member: ClusterMember[M]) -> None:
        """Stop a member in good order: it hands over the leadership first."""
        self._check_alive(member)
        member.alive = False
        member._stop.set()
        await member._stopped.wait()

    async def restart(self, member: ClusterMember[M]) -> ClusterMember[M]:
        """Start a member that was stopped or crashed: the same identity, an empty memory, another address.

        Its seed is a member that runs. If none does, it is told of nobody, and begins a group of its own.

        Returns:
            The member that runs now.
        """
        if member.alive or self._members[member.host] is not member:
            raise ConfigError(f"{member.host} runs; stop or crash it before it is started again")
        await member._stopped.wait()
        return await self._start(member.host)

    # --- waiting

    async def wait_leader(
        self, *, other_than: ClusterMember[M] | None = None, timeout: float = PATIENCE
    ) -> ClusterMember[M]:
        """Wait until a member leads, one that is not ``other_than``, and a majority confirms it; which.

        It has then applied all that was acknowledged before.
        """
        with anyio.move_on_after(timeout):
            while True:
                leads = [member for member in self.alive if member.group.is_leader and member is not other_than]
                for member in sorted(leads, key=lambda member: -member.group.term):
                    with contextlib.suppress(GroupClosed):
                        if await member.group._worker.read_index(0.2) and member.group.is_leader:
                            return member
                self._check_failures()
                await anyio.sleep(0.01)
        raise TimeoutError(f"waited {timeout:g} s for a leader; {self._standing()}")

    async def wait_online(self, timeout: float = PATIENCE) -> None:
        """Wait until every member that runs can work."""
        await self.wait_until(lambda: all(member.group.online for member in self.alive), "all to be online", timeout)

    async def wait_settled(self, timeout: float = PATIENCE) -> None:
        """Wait until every member that runs has applied all that any of them has in its log: what they hold is then equal."""

        def settled() -> bool:
            groups = [member.group for member in self.alive]
            last = max(group.log_position.index for group in groups)
            return all(group.online and group.applied == group.committed == last for group in groups)

        await self.wait_until(settled, "all members to have applied the whole log", timeout)

    async def wait_until(self, holds: Callable[[], bool], what: str = "it", timeout: float = PATIENCE) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: It does not; the message says how the members stand.
            P2PRaftError: A member's group has failed, by its state machine for instance.
        """
        with anyio.move_on_after(timeout):
            while not holds():
                self._check_failures()
                await anyio.sleep(0.01)
            return
        raise TimeoutError(f"waited {timeout:g} s for {what}; {self._standing()}")

    # --- inner workings

    async def _start(self, host: str) -> ClusterMember[M]:
        assert self._tasks is not None
        member: ClusterMember[M] = await self._tasks.start(self._run, host)
        self._members[host] = member
        return member

    async def _run(self, host: str, *, task_status: TaskStatus[ClusterMember[M]]) -> None:
        others = [member for member in self.alive if member.host != host]
        network = Network(
            "cluster",
            identity=self._keys[host],
            seeds=[member.network.address for member in others[:1]],
            transport=self.net.transport(host),
        )
        epoch, began = self._epochs[host], self._began
        network._wall_clock = lambda: epoch + anyio.current_time() - began
        observes = host.startswith("observer")
        machine = self._make()
        stopped = anyio.Event()
        try:
            with anyio.CancelScope() as scope:
                async with network:
                    handle = network.group(
                        "cluster",
                        secret=self._secret,
                        machine=machine,
                        consensus=self._config,
                        preference=LeadershipPreference.OBSERVER if observes else LeadershipPreference.NORMAL,
                    )
                    async with handle as group:
                        member = ClusterMember(host=host, machine=machine, network=network, group=group)
                        member._scope, member._stopped = scope, stopped
                        task_status.started(member)
                        await member._stop.wait()
        finally:
            stopped.set()

    def _check_failures(self) -> None:
        for member in self.alive:
            if member.group.failure is not None:
                raise member.group.failure

    def _check_alive(self, member: ClusterMember[M]) -> None:
        if not member.alive:
            raise ConfigError(f"{member.host} does not run")

    def _standing(self) -> str:
        lines = [
            f"{member.host}: {member.group.role} in term {member.group.term}, {member.group.applied} applied, "
            f"{'online' if member.group.online else 'offline'}"
            if member.alive
            else f"{member.host}: does not run"
            for member in self
        ]
        return "; ".join(lines)
