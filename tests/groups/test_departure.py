"""Members without a disk that stop in good order, and members that become others, on whole nodes in virtual time."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest

from p2praft.groups.bond import Renewed
from p2praft.raft.types import later_incarnation
from tests.groups.conftest import Lab, lab

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def whole(made: Lab, count: int) -> None:
    """Wait until so many vote."""
    with anyio.fail_after(60):
        while len(made.leader.group.voters) < count:
            await anyio.sleep(0.1)


@pytest.mark.parametrize("apart", [0.0, 3.0])
async def test_two_of_three_that_stop_one_after_the_other_leave_a_group_that_works(apart: float) -> None:
    async with lab(3, expect=1) as made:
        await whole(made, 3)
        await made.leader.group.execute(7)
        for node in list(made.nodes[:2]):
            await made.stop(node)
            await anyio.sleep(apart)
        last = made.nodes[0]
        with anyio.fail_after(5):
            await last.group.when.online()
            assert await last.group.execute(1) == 8
        assert last.group.voters == (last.network.peer_id,)


async def test_all_that_stop_at_once_stop_in_time() -> None:
    async with lab(3) as made:
        await whole(made, 3)
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for node in list(made.nodes):
                tasks.start_soon(made.stop, node)
        assert anyio.current_time() - began < 3, "the shutdown time of a node"


async def test_the_goodbye_of_a_member_without_a_disk_says_that_its_memory_ends() -> None:
    async with lab(3) as made:
        await whole(made, 3)
        await made.leader.group.execute(7)
        one, two, three = made.nodes
        made.net.partition([one.host], [two.host], [three.host])
        with anyio.fail_after(60):
            while one.group.bonds or two.group.bonds:
                await anyio.sleep(0.1)
        gone = two.group._worker.me
        made.net.heal()
        made.net.cut(one.host, three.host)
        with anyio.fail_after(60):
            while len(one.group.bonds) < 1:
                await anyio.sleep(0.05)
        await made.stop(two)
        assert gone not in one.group._worker.engine.voters or gone in one.group._worker.engine.status().over


async def test_whoever_becomes_another_member_is_known_as_that_by_all_that_are_bonded() -> None:
    async with lab(3) as made:
        await whole(made, 3)
        worker = made.followers[0].group._worker
        before = worker.me
        worker._post(lambda now: worker.engine.recover([worker.me], now))
        with anyio.fail_after(60):
            while not worker.me.is_later_than(before):
                await anyio.sleep(0.05)
            others = [node.group._worker for node in made.nodes if node.group._worker is not worker]
            while any(other.bonds[worker.me.peer_id].member != worker.me for other in others):
                await anyio.sleep(0.05)
            while worker.me not in made.leader.group._worker.engine.voters:
                await anyio.sleep(0.05)
        assert all(bond.own == worker.me.incarnation for bond in worker.bonds.values())


async def test_whoever_says_that_it_is_an_earlier_one_loses_its_bond() -> None:
    async with lab(2) as made:
        one, two = made.nodes
        bond = one.group._worker.bonds[two.network.peer_id]
        earlier = later_incarnation(bytes(8), bytes(4))
        with contextlib.suppress(TimeoutError), anyio.fail_after(5):
            bond.link.send_nowait(Renewed(incarnation=earlier))
            await bond.link.connection.wait_closed()
        seen = two.group._worker.bonds[one.network.peer_id]
        assert seen.member == one.group._worker.me
        assert bond.link.closed
