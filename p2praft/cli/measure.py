"""What a group does a second, measured inside one of its nodes: writes to its map, strong reads, the first write after a loss."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from p2praft.collections import Map
from p2praft.groups.group import Group

KEY = "p2praft/bench"
"""The one key that is written."""
MAX_COUNT, MAX_AT_ONCE = 1_000_000, 65_536
PATIENCE = 60.0
"""Seconds until a write counts as failed."""


async def measure(group: Group, what: str, count: int, at_once: int) -> dict[str, float]:
    """Measure one thing; times in seconds.

    Args:
        group: Whose map.
        what: ``writes``, ``reads``, or ``first write``: when, on the system's monotonic clock, a write is acknowledged.
        count: How many.
        at_once: How many are under way at any time.
    """
    replicated = Map(group)
    if what == "first write":
        await replicated.set(KEY, 0, timeout=PATIENCE)
        return {"at": time.monotonic()}
    count, at_once = max(1, min(count, MAX_COUNT)), max(1, min(at_once, MAX_AT_ONCE))
    if what == "writes":
        return await _time(lambda number: replicated.set(KEY, number, timeout=PATIENCE), count, at_once)
    if what == "reads":
        return await _time(lambda number: replicated.get(KEY), count, at_once)
    raise KeyError(what)


async def _time(one: Callable[[int], Awaitable[Any]], count: int, at_once: int) -> dict[str, float]:
    latencies: list[float] = []
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            begin = time.perf_counter()
            await one(number)
            latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(min(at_once, count)):
            tasks.start_soon(worker)
    elapsed = time.perf_counter() - begin
    latencies.sort()
    return {
        "per_second": count / elapsed,
        "p50": latencies[count // 2],
        "p99": latencies[count * 99 // 100],
    }
