"""``p2praft bench``: commits a second, latency and fail-over, with real processes on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click

from p2praft.cli.fleet import Fleet, Node, Within, fleet
from p2praft.cli.options import json_option
from p2praft.cli.output import CommandError, emit, execute, print_table
from p2praft.cli.progress import Advance, progress

NAME = "bench"
PATIENCE = 60.0
"""Seconds that one step may take."""
WRITES = ((1, 300), (256, 6000))
"""How many are under way at any time, and how many there are in all."""
READS = 300
WARM_UP = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured.

    Attributes:
        nodes: Processes, all of which vote.
        data_dir: On whose disk the logs are; in memory if None.
        scale: Fewer or more operations.
        failovers: How often a leader is killed.
    """

    nodes: int
    data_dir: Path | None
    scale: float
    failovers: int

    async def run(self, advance: Advance, tell: Callable[[dict[str, Any]], None]) -> None:
        """Measure, and tell each result as it comes; times in seconds.

        Raises:
            CommandError: The nodes did not do what they should, or somebody interrupted them.
        """
        done = 0
        disk = tempfile.TemporaryDirectory(prefix="bench-", dir=self.data_dir) if self.data_dir else None
        with disk or nullcontext() as folder:
            data_dir = Path(folder) if folder else None
            async with fleet(NAME, voters=self.nodes, data_dir=data_dir, what="the measurement") as nodes:
                advance(done, "starting nodes")
                await self._start(nodes)
                leader = await nodes.leader()
                follower = next(node for node in nodes.nodes if node is not leader)
                for name, node in (("leader", leader), ("follower", follower)):
                    advance(done, f"writes and reads through the {name}")
                    await _measure(node, "writes", WARM_UP, 1)
                    for at_once, count in WRITES:
                        count = max(1, int(count * self.scale))
                        found = await _measure(node, "writes", count, at_once)
                        tell({"measure": "writes", "through": name, "at_once": at_once, "count": count, **found})
                        advance(done := done + 1, "")
                    count = max(1, int(READS * self.scale))
                    found = await _measure(node, "reads", count, 1)
                    tell({"measure": "reads", "through": name, "at_once": 1, "count": count, **found})
                    advance(done := done + 1, "")
                times: list[float] = []
                for trial in range(self.failovers):
                    advance(done, f"killing leader {trial + 1} of {self.failovers}")
                    times.append(await self._fail_over(nodes))
                    advance(done := done + 1, "")
                if times:
                    median, worst = statistics.median(times), max(times)
                    tell({"measure": "failover", "count": len(times), "median": median, "worst": worst})

    @property
    def steps(self) -> int:
        """How many there are, for the bar."""
        return 2 * (len(WRITES) + 1) + self.failovers

    async def _start(self, nodes: Fleet) -> None:
        with Within(PATIENCE, "the nodes did not become a group"):
            first = await nodes.start(1, seed=None)
            for number in range(2, self.nodes + 1):
                await nodes.start(number, seed=first.address)
            await self._settle(nodes)

    async def _settle(self, nodes: Fleet) -> None:
        """Wait until all vote and have the same log."""
        while True:
            views = [await node.group() for node in nodes.nodes]
            positions = {view["log_position"]["index"] for view in views}
            if all(view["online"] and len(view["voters"]) >= self.nodes for view in views) and len(positions) == 1:
                return
            await anyio.sleep(0.05)

    async def _fail_over(self, nodes: Fleet) -> float:
        """Kill the leader; seconds until a survivor's next write is acknowledged. Then the killed node starts again."""
        with Within(PATIENCE, "no survivor took over"):
            leader = await nodes.leader()
            survivor = next(node for node in nodes.nodes if node is not leader)
            await _measure(survivor, "writes", 20, 1)
            killed = time.monotonic()
            nodes.kill(leader)
            found = await _measure(survivor, "first write", 1, 1)
        seconds: float = found["at"] - killed
        with Within(PATIENCE, "the killed node did not come back"):
            await nodes.start(int(leader.name.rpartition("-")[2]), seed=survivor.address)
            await self._settle(nodes)
        return seconds


async def _measure(node: Node, what: str, count: int, at_once: int) -> dict[str, float]:
    request = {"op": "measure", "group": NAME, "what": what, "count": count, "at_once": at_once}
    found: dict[str, float] = await node.ask(**request, timeout=10 * PATIENCE)
    return found


@click.command("bench", short_help="Commits a second, latency, fail-over on this machine.")
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(3, 9), help="Processes.")
@click.option(
    "--data-dir",
    type=click.Path(),
    metavar="DIR",
    help="Measure durable logs, on the disk of DIR; what is stored there is removed again. Default: in memory.",
)
@click.option(
    "--scale", default=1.0, show_default=True, type=click.FloatRange(0.01, 1000), help="Fewer or more operations."
)
@click.option(
    "--failovers", default=3, show_default=True, type=click.IntRange(0, 100), help="How often a leader is killed."
)
@json_option
def bench_command(nodes: int, data_dir: str | None, scale: float, failovers: int, as_json: bool) -> None:
    """Measure commits a second, latency and fail-over: a group of real processes on this machine.

    Each node of a real group has a machine of its own; here they share one, so it does less than they would.
    """
    if data_dir is not None and not Path(data_dir).is_dir():
        raise click.UsageError(f"--data-dir {data_dir} is no directory; make it first")
    bench = Bench(nodes=nodes, data_dir=Path(data_dir) if data_dir else None, scale=scale, failovers=failovers)
    execute(_run, bench, as_json, as_json=as_json)


async def _run(bench: Bench, as_json: bool) -> None:
    results: list[dict[str, Any]] = []

    def tell(result: dict[str, Any]) -> None:
        results.append(result)
        if as_json:
            emit(result)

    try:
        with progress("starting nodes", bench.steps) as advance:
            await bench.run(advance, tell)
    except OSError as error:
        raise CommandError("Disk", f"cannot use {bench.data_dir}: {error.strerror}") from None
    if not as_json:
        _print(bench, results)


def _print(bench: Bench, results: list[dict[str, Any]]) -> None:
    where = f"durable, on the disk of {bench.data_dir}" if bench.data_dir else "in memory"
    print(f"{bench.nodes} processes on this machine, {where}")
    rows = [
        [
            result["measure"],
            result["through"],
            result["at_once"],
            f"{result['per_second']:,.0f}",
            f"{result['p50'] * 1e3:.2f} ms",
            f"{result['p99'] * 1e3:.2f} ms",
        ]
        for result in results
        if result["measure"] != "failover"
    ]
    print_table(["", "THROUGH THE", "AT ONCE", "A SECOND", "MEDIAN", "99 %"], rows)
    for result in results:
        if result["measure"] == "failover":
            print(
                f"fail-over: {result['median'] * 1e3:.0f} ms in the median of {result['count']}, {result['worst'] * 1e3:.0f} ms at "
                "worst, from killing the leader (SIGKILL) to the next acknowledged write"
            )
