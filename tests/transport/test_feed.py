"""Events for any number of readers, none of which holds up another."""

from __future__ import annotations

import gc

import anyio
import pytest

from transport.feed import Feed

pytestmark = pytest.mark.anyio


async def test_each_reader_sees_what_was_and_what_comes() -> None:
    feed: Feed[int] = Feed()
    feed.put(0)
    early = feed.subscribe()
    feed.put(1)
    late = feed.subscribe([10, 11])
    feed.put(2)
    feed.close()
    assert [event async for event in early] == [1, 2]
    assert [event async for event in late] == [10, 11, 2]
    assert [event async for event in feed.subscribe([3])] == [3]


async def test_a_slow_reader_loses_the_oldest_and_knows_how_many() -> None:
    feed: Feed[int] = Feed(limit=3)
    reader = feed.subscribe()
    for number in range(10):
        feed.put(number)
    feed.close()
    assert [event async for event in reader] == [7, 8, 9]
    assert reader.missed == 7


async def test_a_waiting_reader_wakes() -> None:
    feed: Feed[int] = Feed()
    reader = feed.subscribe()
    got: list[int] = []

    async def read() -> None:
        got.extend([event async for event in reader])

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            feed.put(1)
            await anyio.wait_all_tasks_blocked()
            assert got == []
            feed.close()
    assert got == [1]


def test_a_reader_may_simply_be_dropped() -> None:
    feed: Feed[int] = Feed()
    reader = feed.subscribe()
    assert len(feed._readers) == 1
    del reader
    gc.collect()
    assert len(feed._readers) == 0
    feed.put(1)
