"""``recover``: what an operator may say that nothing can prove, and what follows."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import NotAuthorized, Offline
from p2praft.raft.context import DeclaredLost
from p2praft.raft.effects import HardState
from p2praft.raft.messages import Standing
from tests.groups.conftest import Lab, Node, lab
from tests.raft.support import HISTORY, Bench, append, at, genesis

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    return virtual_clock


async def burn(made: Lab, *nodes: Node) -> None:
    """Have machines vanish, for good."""
    for node in nodes:
        made.net.crash(node.host)
        made.nodes.remove(node)
    with anyio.fail_after(60):
        while any(node.group.online or len(node.group.bonds) >= len(made.nodes) for node in made.nodes):
            await anyio.sleep(0.1)


async def test_the_rest_goes_on_with_all_that_it_holds() -> None:
    async with lab(3) as made:
        await made.leader.group.execute(7)
        survivor = made.followers[0]
        with anyio.fail_after(10):
            await survivor.group.when.committed.reaches(made.leader.group.committed)
        dead = [node for node in made.nodes if node is not survivor]
        await burn(made, *dead)
        with pytest.raises(Offline):
            await survivor.group.execute(1, timeout=5)
        assert set(await survivor.group.recover()) == {node.network.peer_id for node in dead}
        assert await survivor.group.execute(1) == 8
        with anyio.fail_after(10):  # one change at a time, each committed before the next
            while survivor.group.voters != (survivor.network.peer_id,):
                await anyio.sleep(0.1)


async def test_one_says_it_and_the_other_survivors_hear_of_it() -> None:
    async with lab(5) as made:
        with anyio.fail_after(60):
            while len(made.leader.group.voters) < 5:
                await anyio.sleep(0.1)
        await made.leader.group.execute(7)
        await burn(made, *made.nodes[2:])
        await made.nodes[0].group.recover()
        with anyio.fail_after(30):
            await made.nodes[1].group.when.online()
        assert await made.nodes[1].group.execute(1) == 8
        new = await made.start("new")
        with anyio.fail_after(60):
            while len(new.group.voters) < 3:
                await anyio.sleep(0.1)
        assert await new.group.execute(1) == 9


async def test_a_group_that_works_has_nothing_to_recover() -> None:
    async with lab(3) as made:
        with pytest.raises(NotAuthorized, match="nothing to recover"):
            await made.leader.group.recover()


async def test_whoever_is_there_cannot_be_declared_lost() -> None:
    async with lab(5) as made:
        with anyio.fail_after(60):
            while len(made.leader.group.voters) < 5:
                await anyio.sleep(0.1)
        await burn(made, *made.nodes[2:])
        one, other = made.nodes
        with pytest.raises(NotAuthorized, match="it is bonded with this member now"):
            await one.group.recover([other.network.peer_id])


async def test_recovery_that_needs_an_absent_survivor_says_so() -> None:
    async with lab(5) as made:
        with anyio.fail_after(60):
            while len(made.leader.group.voters) < 5:
                await anyio.sleep(0.1)
        dead = made.nodes[2:]
        await burn(made, *made.nodes[1:])
        with pytest.raises(Offline, match="must be up"):
            await made.nodes[0].group.recover([node.network.peer_id for node in dead], timeout=5)


def test_who_was_declared_lost_and_comes_back_stops() -> None:
    bench = Bench(3, 2)
    standing = Standing(
        factor=1.0, genesis=genesis(bench.voters), founded=True, attempt=1, gone=(), leaving=False, lost=(bench.me,)
    )
    with pytest.raises(DeclaredLost, match="move its data directory away"):
        bench.engine.receive(standing, bench.voters[1], bench.now, history=HISTORY)


def test_who_was_declared_lost_is_no_longer_listened_to() -> None:
    bench = Bench(3, 2)
    two, three = bench.voters[1:]
    bench.engine.recover([two, three], bench.now)
    [write] = [effects.write for effects in bench.take() if effects.write is not None]
    assert write.state == HardState(term=bench.engine.term, founded=True, lost=(two, three)), "it outlives a restart"
    bench.advance(2)
    assert bench.engine.is_leader, "all that are left agree"
    term = bench.engine.term
    assert bench.receive(append(term + 5, at(term + 5, 9)), two) == []
    assert bench.engine.term == term
