"""What every caller waits with."""

from __future__ import annotations

import anyio
import pytest

from p2praft.groups.waiting import Deadlines, Flag

pytestmark = pytest.mark.anyio


async def test_everybody_who_waits_is_woken_but_for_who_was_cancelled() -> None:
    flag = Flag()
    seen: list[bool] = []

    async def wait(scope: anyio.CancelScope) -> None:
        with scope:
            seen.append(await flag.wait())

    scopes = [anyio.CancelScope() for _ in range(3)]
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(wait, scope)
            await anyio.wait_all_tasks_blocked()
            scopes[1].cancel()
            await anyio.wait_all_tasks_blocked()
            flag.set()
    assert seen == [True, True]
    assert flag.is_set()
    assert await flag.wait()


async def test_a_wait_that_is_over_for_another_reason_says_so_and_can_be_begun_anew() -> None:
    flag = Flag()
    deadlines = Deadlines()
    deadlines.add(1.0, flag)
    seen: list[bool] = []

    async def wait() -> None:
        seen.append(await flag.wait())
        seen.append(await flag.wait())

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            deadlines.on_time(0.9)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            deadlines.on_time(1.0)
            await anyio.wait_all_tasks_blocked()
            assert seen == [False]
            flag.set()
    assert seen == [False, True]


async def test_who_was_cancelled_before_it_waits_does_not_wait() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Flag().wait()
    assert scope.cancelled_caught
