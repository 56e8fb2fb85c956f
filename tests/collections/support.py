"""A group of one that commits at once, without anything around it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import anyio

from p2praft import ApplyContext, Consistency, Group, GroupClosed, QueryResult, SecretKey, StateMachine
from p2praft.groups.when import IndexWatcher
from p2praft.groups.worker import Worker

PEER = SecretKey.generate().peer_id


def context(index: int = 1, time: float = 0.0) -> ApplyContext:
    """Facts about a command."""
    return ApplyContext(index=index, term=1, peer_id=PEER, time=time)


def travel(machine: StateMachine, value: Any) -> Any:
    """What comes out at the other end."""
    return machine.decode(machine.encode(value))


class OneMember:
    """Commands and answers travel encoded, as they do in a real group.

    Attributes:
        machine: The only replica.
        time: The log's; a test moves it.
        asked: The consistency of each query.
        failing: Raised by strong queries, one after the other.
        on_strong: Happens before a strong query is answered: a member that is behind catches up.
    """

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.name = "line"
        self.index = 0
        self.time = 1000.0
        self.asked: list[Consistency] = []
        self.failing: list[Exception] = []
        self.on_strong: Callable[[], None] = lambda: None
        self.closed = False
        self._changed = anyio.Event()
        worker = cast(Worker, self)
        self.when = SimpleNamespace(
            applied=IndexWatcher(worker, lambda: self.index), watcher=lambda read: IndexWatcher(worker, read)
        )

    @property
    def group(self) -> Group:
        """It behaves like one."""
        return cast(Group, self)

    async def execute(self, command: Any, *, timeout: float = 10) -> Any:
        return self.apply(command)

    def apply(self, command: Any) -> Any:
        """Commit and apply a command."""
        self.index += 1
        result = self.machine.apply(travel(self.machine, command), context(self.index, self.time))
        self.notify()
        return travel(self.machine, result)

    async def query(self, query: Any, consistency: Consistency = Consistency.STRONG) -> QueryResult:
        self.asked.append(consistency)
        if consistency == Consistency.STRONG:
            if self.failing:
                raise self.failing.pop(0)
            self.on_strong()
        return QueryResult(travel(self.machine, self.machine.query(query)), self.index)

    def replace(self, machine: StateMachine, index: int = 0) -> None:
        """The state is replaced, as by a snapshot's or by another history's."""
        self.machine.restore(self.machine.join(list(machine.chunks(machine.snapshot()))))
        self.index = index
        self.notify()

    def close(self) -> None:
        """The group closes."""
        self.closed = True
        self.notify()

    def notify(self) -> None:
        """Wake who waits."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_change(self) -> None:
        if self.closed:
            raise GroupClosed("closed")
        await self._changed.wait()


async def soon(holds: Callable[[], bool]) -> None:
    """Wait until something holds, with a generous bound."""
    with anyio.fail_after(30):
        while not holds():
            await anyio.sleep(0.01)
