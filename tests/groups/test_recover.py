"""``recover``, ``abandon`` and ``merge``: what an operator may say that nothing can prove, and what follows."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p2praft import NotAuthorized, Offline, SecretKey
from p2praft.raft.histories.messages import End
from tests.groups.conftest import Lab, Node, lab

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
        await made.leader.group.execute(7)
        await burn(made, *made.nodes[2:])
        one, other = made.nodes
        with pytest.raises(NotAuthorized, match="it is here, with all that it held"):
            await one.group.recover([other.network.peer_id])


async def test_recovery_that_needs_an_absent_survivor_says_so() -> None:
    async with lab(5) as made:
        with anyio.fail_after(60):
            while len(made.leader.group.voters) < 5:
                await anyio.sleep(0.1)
        await made.leader.group.execute(7)
        lost = made.nodes[3:]
        await burn(made, *made.nodes[1:])
        with pytest.raises(Offline, match="must be up"):
            await made.nodes[0].group.recover([node.network.peer_id for node in lost], timeout=5)


async def test_who_was_declared_lost_and_comes_back_goes_on_as_a_new_member() -> None:
    async with lab(3) as made:
        await made.leader.group.execute(7)
        one, *others = made.nodes
        before = {node.host: node.group._worker.me for node in others}
        made.net.partition(*([node.host] for node in made.nodes))
        with anyio.fail_after(60):
            while one.group.bonds:
                await anyio.sleep(0.1)
            await one.group.when.offline()
        assert set(await one.group.recover()) == {node.network.peer_id for node in others}
        assert await one.group.execute(1) == 8
        made.net.heal()
        with anyio.fail_after(120):
            while len(one.group.voters) < 3:
                await anyio.sleep(0.1)
        for node in others:
            assert node.group._worker.me.is_later_than(before[node.host])
            assert (await node.group.query(None)).value == 8


async def test_an_observer_alone_recovers_a_group_for_a_member_that_may_vote() -> None:
    async with lab(2, observers=1) as made:
        await made.leader.group.execute(7)
        watcher = made.nodes[-1]
        with anyio.fail_after(10):
            await watcher.group.when.committed.reaches(made.leader.group.committed)
        dead = made.nodes[:2]
        await burn(made, *dead)
        new = await made.start("new")
        with anyio.fail_after(60):
            while "waits for" not in (watcher.group.waits_for or "") or not watcher.group.bonds:
                await anyio.sleep(0.1)
        assert set(await watcher.group.recover()) == {node.network.peer_id for node in dead}
        await made.online()
        assert await new.group.execute(1) == 8


async def test_machines_that_are_back_without_their_memory_need_no_word() -> None:
    keys = [SecretKey.generate(), SecretKey.generate()]
    async with lab(1) as made:
        wiped = [await made.start(f"wiped-{at}", identity=key) for at, key in enumerate(keys)]
        one = made.nodes[0]
        with anyio.fail_after(60):
            while len(one.group.voters) < 3:
                await anyio.sleep(0.1)
        await one.group.execute(7)
        await burn(made, *wiped)
        for at, key in enumerate(keys):
            await made.start(f"back-{at}", identity=key)
        await made.online()
        assert await made.nodes[1].group.execute(1) == 8


async def test_who_waits_in_vain_gives_up_what_it_holds_and_joins_the_part_that_works() -> None:
    async with lab(3, expect=1) as made:
        await made.leader.group.execute(7)
        one = made.nodes[0]
        with anyio.fail_after(10):
            await one.group.when.committed.reaches(made.leader.group.committed)
        await burn(made, *made.nodes[1:])
        made.net.partition([one.host], ["new"])
        new = await made.start("new", found=True)
        with anyio.fail_after(60):
            await new.group.when.online()
        assert await new.group.execute(1) == 1
        with pytest.raises(NotAuthorized, match="nothing to abandon"):
            await new.group.abandon()
        made.net.heal()
        with anyio.fail_after(60):
            while "`abandon`" not in (one.group.waits_for or "") or not one.group.bonds:
                await anyio.sleep(0.1)
        refused: list[str] = []

        async def abandon() -> None:
            try:
                await one.group.abandon()
            except NotAuthorized as error:
                refused.append(str(error))

        async with anyio.create_task_group() as tasks:  # two operators at once
            tasks.start_soon(abandon)
            tasks.start_soon(abandon)
        (reason,) = refused
        assert "somebody else has just said `abandon`" in reason
        assert (await one.group.query(None)).value == 1
        [archived] = one.group._worker._storage.archives()
        assert archived.ended is not None
        assert archived.ended.how is End.LEFT
        (info,) = await one.group.archives()
        assert (info.number, info.ended, info.commands) == (archived.number, "left", 1)
        assert "no reconcile" in info.aside
        assert list(one.group.left_aside) == [info.number]
        assert await one.group.archive_commands(info.number) == [7]
        assert (await one.group.archive_replay(info.number)).commands == 1
        assert (await new.group.query(None)).value == 8


async def test_a_part_that_asks_ends_in_favour_of_a_higher_one_on_a_word() -> None:
    async with lab(3, expect=1) as made:
        await made.leader.group.execute(7)
        made.net.partition([node.host for node in made.nodes], ["apart"])
        apart = await made.start("apart", found=True, on_meeting="ask")
        with anyio.fail_after(60):
            await apart.group.when.online()
        assert await apart.group.execute(1) == 1
        with pytest.raises(NotAuthorized, match="waits for no such word"):
            await apart.group.merge()
        before = apart.group.met
        assert before is None
        made.net.heal()
        with anyio.fail_after(60):
            while "`merge`" not in (apart.group.waits_for or ""):
                await anyio.sleep(0.1)
        met = apart.group.met
        assert met is not None
        assert (met.this_ends, met.waits) == (True, True)
        assert (met.this.voters, met.other.voters) == (1, 3)
        assert met.this.commands[0] <= 1 <= met.this.commands[1]
        with anyio.fail_after(10):
            while (seen := made.leader.group.met) is None:
                await anyio.sleep(0.1)
        assert (seen.this_ends, seen.waits, seen.other.history) == (False, False, met.this.history)
        await anyio.sleep(30)
        assert await apart.group.execute(1) == 2, "it goes on until then"
        await apart.group.merge()
        assert (await apart.group.query(None)).value == 7
