"""One member of a benchmark's group, in a process of its own; does what it is told on standard input."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

import anyio

from p2praft import ApplyContext, Group, GroupKey, Network, StateMachine


class Counter(StateMachine):
    """Counts."""

    signature = "benchmark-counter/1"

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: Any, ctx: ApplyContext) -> Any:
        self.value += command
        return self.value

    def query(self, query: Any) -> Any:
        return self.value

    def snapshot(self) -> Any:
        return self.value

    def restore(self, snapshot: Any) -> None:
        self.value = snapshot


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
            await group.execute(1, timeout=120)

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(width):
            tasks.start_soon(worker)
    return {"per_second": count / (time.perf_counter() - begin)}


async def reads(group: Group, count: int) -> dict[str, float]:
    """Strong reads, one after the other."""
    latencies = []
    for _ in range(count):
        begin = time.perf_counter()
        await group.query(None)
        latencies.append(time.perf_counter() - begin)
    latencies.sort()
    return {"p50": latencies[count // 2], "p99": latencies[count * 99 // 100]}


async def first_write(group: Group) -> dict[str, float]:
    """The next write that succeeds, as a time on the system's monotonic clock."""
    await group.execute(1, timeout=60)
    return {"at": time.monotonic()}


async def main() -> None:
    """Join, say where, obey."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", action="append", default=[])
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    async with Network("benchmark", listen="127.0.0.1:0", seeds=options.seed, data_dir=options.data_dir) as network:
        handle = network.group("benchmark", secret=GroupKey(b"b" * 32), machine=Counter())
        async with handle as group:
            say({"address": str(network.address), "peer_id": str(network.peer_id)})
            buffer = b""
            while True:
                await anyio.wait_readable(0)
                data = os.read(0, 65536)
                if not data:
                    return
                buffer += data
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    say(await obey(group, json.loads(line)))


async def obey(group: Group, order: dict[str, Any]) -> Any:
    """Do one thing."""
    match order["do"]:
        case "state":
            return {"online": group.online, "is_leader": group.is_leader, "voters": len(group.voters)}
        case "sequential":
            return await sequential(group, order["count"])
        case "window":
            return await window(group, order["width"], order["count"])
        case "reads":
            return await reads(group, order["count"])
        case "first_write":
            return await first_write(group)
    raise ValueError(order)


def say(value: Any) -> None:
    """One line of JSON."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(anyio.run(main))
