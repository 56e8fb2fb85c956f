"""Two parts of a group that were founded apart meet: one history is left, and all that was acknowledged is in it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import ApplyContext, replay
from tests.groups.conftest import Counter, Lab, Node, lab

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


@pytest.fixture(autouse=True)
def _short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that never ends is given up sooner."""
    monkeypatch.setattr("p2praft.groups.carrying.MAX_COMMANDS", 1000)


class Adding(Counter):
    """A counter: what the ended history has added is added."""

    signature = "adding/1"

    def reconcile(self, sealed: int, base: int | None) -> list[int]:
        return [sealed - (base or 0)] if sealed != (base or 0) else []


class Replaying(Counter):
    """A counter whose commands are done again."""

    signature = "replaying/1"
    reconcile = replay


class Raising(Counter):
    """A machine whose hook is broken."""

    signature = "raising/1"

    def reconcile(self, sealed: Any, base: Any) -> list[Any]:
        raise RuntimeError("no idea")


class Endless(Counter):
    """A machine whose hook never ends."""

    signature = "endless/1"

    def reconcile(self, sealed: Any, base: Any) -> Any:
        while True:
            yield 1

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        return super().apply(command, ctx)


async def apart(some: Lab) -> tuple[list[Node], list[Node]]:
    """Two nodes and one, founded out of each other's sight; 10 is acknowledged by the two, 5 by the one."""
    some.net.partition({"a", "b"}, {"c"})
    left = [await some.start("a", seeds=[], found=True)]
    left.append(await some.start("b", seeds=[left[0].network.address]))
    right = [await some.start("c", seeds=[left[0].network.address], found=True)]
    with anyio.fail_after(60):
        for node in (*left, *right):
            await node.group.when.online()
        while len(left[0].group.voters) < 2:
            await anyio.sleep(0.1)
    for _ in range(5):
        await left[1].group.execute(2)
    await right[0].group.execute(5)
    return left, right


async def meet(some: Lab, nodes: list[Node]) -> None:
    """Let them meet, and wait until they are one group that works."""
    some.net.heal()
    with anyio.fail_after(120):
        while len({node.group.leader for node in nodes}) > 1 or not all(node.group.online for node in nodes):
            await anyio.sleep(0.1)
        while len({node.group._worker.engine.history for node in nodes}) > 1:
            await anyio.sleep(0.1)


@pytest.mark.parametrize("machine", [Adding, Replaying])
async def test_what_the_smaller_part_acknowledged_is_carried_over(machine: type[Counter]) -> None:
    async with lab(0, expect=1, machine=machine) as some:
        left, right = await apart(some)
        events = right[0].group.events()
        await meet(some, [*left, *right])
        with anyio.fail_after(60):
            while any(node.machine.value != 15 for node in (*left, *right)):
                await anyio.sleep(0.1)
            async for event in events:
                if event.kind == "carried over":
                    break
        assert await right[0].group.execute(1) == 16


@pytest.mark.parametrize("machine", [Counter, Raising, Endless])
async def test_what_cannot_be_carried_over_stays_in_the_archive_and_the_group_goes_on(machine: type[Counter]) -> None:
    async with lab(0, expect=1, machine=machine) as some:
        left, right = await apart(some)
        events = right[0].group.events()
        await meet(some, [*left, *right])
        with anyio.fail_after(60):
            async for event in events:
                if event.kind == "carried over":
                    assert "archive 1" in event.text
                    break
        assert await right[0].group.execute(1) == 11


async def test_with_on_meeting_ask_nothing_ends_before_the_operator_says_so() -> None:
    async with lab(0, expect=1, machine=Adding) as some:
        some.net.partition({"a", "b"}, {"c"})
        left = [await some.start("a", seeds=[], found=True)]
        left.append(await some.start("b", seeds=[left[0].network.address]))
        alone = await some.start("c", seeds=[left[0].network.address], found=True, on_meeting="ask")
        with anyio.fail_after(60):
            for node in some.nodes:
                await node.group.when.online()
        await left[0].group.execute(2)
        await alone.group.execute(5)
        some.net.heal()
        await anyio.sleep(15)
        assert alone.group.is_leader
        assert alone.group.waits_for is not None
        assert "merge" in alone.group.waits_for
        await alone.group.merge()
        with anyio.fail_after(60):
            while alone.machine.value != 7:
                await anyio.sleep(0.1)
