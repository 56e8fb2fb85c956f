"""One member of a benchmark's group, in a process of its own; does what it is told on standard input.

An order is a line of JSON, and so is its answer. Orders overlap. The member leaves in good order once its standard
input ends.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections import deque
from typing import Any

import anyio
from anyio.abc import TaskGroup

from p2praft import ApplyContext, ConsensusConfig, Consistency, Group, GroupKey, Network, StateMachine

PATIENCE = 120
"""Seconds until a command counts as failed; the longest gaps that are measured are far shorter."""
VALUE = 1024
"""Bytes of one value of the ballast."""


class Counter(StateMachine):
    """Counts; and carries ballast, so that its snapshots weigh something."""

    signature = "benchmark-counter/2"

    def __init__(self) -> None:
        self.value = 0
        self.ballast: dict[int, bytes] = {}
        self.captured: list[float] = []

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        if isinstance(command, list):  # [how many values of ballast]
            first = len(self.ballast)
            self.ballast |= {at: at.to_bytes(8, "big") * (VALUE // 8) for at in range(first, first + command[0])}
        else:
            self.value += command
        return self.value

    def query(self, query: Any) -> Any:
        return {"value": self.value, "ballast": len(self.ballast)}

    def snapshot(self) -> Any:
        self.captured.append(time.monotonic())
        return {"value": self.value, "ballast": dict(self.ballast)}

    def restore(self, snapshot: Any) -> None:
        self.value = snapshot["value"]
        self.ballast = snapshot["ballast"]


class Writers:
    """``width`` writers that write one command after the other until they are told to stop.

    Args:
        group: Where.
        width: How many.
        tasks: Where they run.
    """

    def __init__(self, group: Group, width: int, tasks: TaskGroup) -> None:
        self._group = group
        self._begin = self._last = time.monotonic()
        self._count = 0
        self._longest_gap = 0.0
        # The latest only: to sort millions, in the end, holds up the member for longer than its followers wait.
        self._latencies: deque[float] = deque(maxlen=10_000)
        self._going = True
        for _ in range(width):
            tasks.start_soon(self._write)

    async def _write(self) -> None:
        while self._going:
            begin = time.monotonic()
            await self._group.execute(1, timeout=PATIENCE)
            end = time.monotonic()
            self._count += 1
            self._longest_gap, self._last = max(self._longest_gap, end - self._last), end
            self._latencies.append(end - begin)

    def stop(self) -> dict[str, float]:
        """How many commands a second, the usual latency, and the longest time without an acknowledgement, in seconds."""
        self._going = False
        now = time.monotonic()
        return {
            "per_second": self._count / (now - self._begin),
            "usual": statistics.median(self._latencies or [0.0]),
            "longest_gap": max(self._longest_gap, now - self._last),
        }


class Member:
    """Obeys.

    Args:
        group: The member's handle.
        machine: Its state machine.
        tasks: Where orders and writers run.
    """

    def __init__(self, group: Group, machine: Counter, tasks: TaskGroup) -> None:
        self._group = group
        self._machine = machine
        self._tasks = tasks
        self._writers: Writers | None = None
        self._leaders: set[tuple[int, str]] = set()

    async def watch(self) -> None:
        """Note every leader."""
        async for event in self._group.events():
            if event.kind == "leader" and event.peer is not None:
                self._leaders.add((event.term, str(event.peer)))

    async def answer(self, order: dict[str, Any]) -> None:
        """Do one thing and say what came of it."""
        say(await self._obey(order))

    async def _obey(self, order: dict[str, Any]) -> Any:
        group = self._group
        match order["do"]:
            case "state":
                return self._state()
            case "sequential":
                return await sequential(group, order["count"])
            case "window":
                return await window(group, order["width"], order["count"])
            case "reads":
                return await reads(group, order["count"])
            case "first write":
                await group.execute(1, timeout=PATIENCE)
                return {"at": time.monotonic()}
            case "entries":
                return await entries(group, order["count"])
            case "ballast":
                await group.execute([order["count"]], timeout=PATIENCE)
                return {}
            case "begin writing":
                self._writers = Writers(group, order["width"], self._tasks)
                return {}
            case "end writing":
                assert self._writers is not None
                return self._writers.stop()
            case "hand over":
                return {"to": str(await group.transfer_leadership())}
            case "reach":
                return await reach(group, order["index"])
        raise ValueError(order)

    def _state(self) -> dict[str, Any]:
        group = self._group
        return {
            "online": group.online,
            "is_leader": group.is_leader,
            "voters": len(group.voters),
            "term": group.term,
            "leaders": sorted(self._leaders),
            "committed": group.committed,
            "log": group.log_position.index,
            "captured": self._machine.captured,
            "ballast": len(self._machine.ballast),
        }


async def sequential(group: Group, count: int) -> dict[str, float]:
    """One command after the other; latencies in seconds."""
    latencies = []
    for _ in range(count):
        begin = time.perf_counter()
        await group.execute(1)
        latencies.append(time.perf_counter() - begin)
    latencies.sort()
    return {"p50": latencies[count // 2], "p99": latencies[count * 99 // 100], "per_second": count / sum(latencies)}


async def window(group: Group, width: int, count: int) -> dict[str, float]:
    """``width`` commands under way at any time; how many a second."""
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await group.execute(1, timeout=PATIENCE)

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(width):
            tasks.start_soon(worker)
    return {"per_second": count / (time.perf_counter() - begin)}


async def reads(group: Group, count: int) -> dict[str, float]:
    """Strong reads, one after the other; latencies in seconds."""
    latencies = []
    for _ in range(count):
        begin = time.perf_counter()
        await group.query(None)
        latencies.append(time.perf_counter() - begin)
    latencies.sort()
    return {"p50": latencies[count // 2], "p99": latencies[count * 99 // 100]}


async def entries(group: Group, count: int) -> dict[str, float]:
    """``count`` commands, each an entry of its own: the next is handed over once the last one has its index.

    Only what waits at the same time shares an entry. That does not wait for commits; the last command does.
    """
    for _ in range(count - 1):
        await group.feed(1, timeout=PATIENCE)
    await group.execute(1, timeout=PATIENCE)
    return {}


async def reach(group: Group, index: int) -> dict[str, float]:
    """When everything up to ``index`` is applied here, on the system's monotonic clock."""
    while (await group.query(None, Consistency.WEAK)).index < index:
        await group.when.committed.reaches(index)
        await anyio.sleep(0.001)
    return {"at": time.monotonic()}


async def main() -> None:
    """Join, say where, obey until there is nobody left to obey."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", action="append", default=[])
    parser.add_argument("--data-dir")
    parser.add_argument("--snapshot-every", type=int, default=ConsensusConfig().snapshot_every)
    options = parser.parse_args()
    gc.set_threshold(20_000, 20, 20)  # what the guide advises for so many calls at a time; PySyncObj has it too
    machine = Counter()
    consensus = ConsensusConfig(snapshot_every=options.snapshot_every)
    async with Network("benchmark", listen="127.0.0.1:0", seeds=options.seed, data_dir=options.data_dir) as network:
        handle = network.group("benchmark", secret=GroupKey(b"b" * 32), machine=machine, consensus=consensus)
        async with handle as group, anyio.create_task_group() as tasks:
            member = Member(group, machine, tasks)
            tasks.start_soon(member.watch)
            say({"address": str(network.address)})
            buffer = b""
            while data := await more_input():
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    tasks.start_soon(member.answer, json.loads(line))
            tasks.cancel_scope.cancel()


async def more_input() -> bytes:
    """What comes next on standard input; nothing once it has ended."""
    await anyio.wait_readable(0)
    return os.read(0, 65536)


def say(value: Any) -> None:
    """One line of JSON."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(anyio.run(main))
