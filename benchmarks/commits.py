"""Commits: latency one at a time, and how many a second with 1, 256 and 20,000 under way; PySyncObj beside us.

Run it: ``python -m benchmarks.commits --rounds 3``

Both are measured in turns within one run, for machines have moods; each figure is the median of the rounds. A ratio
above 1 says that p2praft does better.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.cluster import Cluster, Process, Processes
from benchmarks.comparison import VERSION, NotInstalled, PySyncObjCluster, interpreter

SEQUENTIAL, NARROW, WIDE = 500, 10_000, 40_000
"""Commands a measurement: one at a time, with 256 and with 20,000 under way."""
COLUMNS = ("p50 ms", "p99 ms", "1 per s", "256 per s", "20000 per s", "read ms")
LESS_IS_BETTER = ("p50 ms", "p99 ms", "read ms")

Figures = dict[str, float]
Key = tuple[str, str, str]
"""Which library and setting; which storage; through which member."""


class Samples:
    """All that was measured.

    Attributes:
        failures: Measurements that did not come to an end, in words.
        divergences: Warnings of PySyncObj's members.
    """

    def __init__(self) -> None:
        self._figures: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.failures: list[str] = []
        self.divergences = 0

    def add(self, key: Key, figures: Figures) -> None:
        """Note one round's."""
        for column, value in figures.items():
            self._figures[key][column].append(value)

    def median(self, key: Key) -> Figures:
        """Of all rounds."""
        return {column: statistics.median(values) for column, values in self._figures[key].items()}

    def measure(self, key: Key, member: Process, scale: float, *, one: bool = True, reads: bool = False) -> None:
        """One round through one member.

        Args:
            key: What it is.
            member: Through whom.
            scale: Fewer or more commands.
            one: Whether to measure one at a time as well.
            reads: Whether to measure strong reads as well.
        """
        if one:
            self._take(key, member, "sequential", SEQUENTIAL // 5, 1, note=False)  # warms up sessions, caches, links
            self._take(key, member, "sequential", int(SEQUENTIAL * scale), 1)
        self._take(key, member, "window", int(NARROW * scale), 256)
        self._take(key, member, "window", int(WIDE * scale), 20_000)
        if reads:
            self.add(key, {"read ms": member.ask(do="reads", count=int(SEQUENTIAL * scale))["p50"] * 1e3})

    def _take(self, key: Key, member: Process, what: str, count: int, width: int, *, note: bool = True) -> None:
        result = member.ask(do=what, count=count, width=width)
        if "failed" in result:
            self.failures.append(f"{', '.join(key)}, {width} under way: {result['failed']}")
        elif note:
            self.add(key, {f"{width} per s": result["per_second"]})
            if what == "sequential":
                self.add(key, {"p50 ms": result["p50"] * 1e3, "p99 ms": result["p99"] * 1e3})


def our_engines() -> dict[str, str]:
    """What our rows are called, and which QUIC engine each is with: the default, and the extra ``fast`` if it is installed."""
    engines = {"p2praft": "aioquic"}
    if importlib.util.find_spec("qh3"):
        engines["with qh3"] = "qh3"
    return engines


def measure_round(samples: Samples, storage: str, python: Path | None, scale: float) -> None:
    """One round of one kind of storage: ours with either QUIC engine, then theirs with either setting."""
    durable = storage == "durable"
    for name, engine in our_engines().items():
        with Cluster(durable=durable, engine=engine) as ours:
            for through, member in ends(ours):
                samples.measure((name, storage, through), member, scale, reads=True)
    for batch in (False, True) if python else ():
        assert python is not None
        library = f"PySyncObj {'with' if batch else 'without'} batches"
        with PySyncObjCluster(python, durable=durable, batch=batch) as theirs:
            for through, member in ends(theirs):
                # With batches one command at a time takes a tenth of a second: never the better setting for it.
                samples.measure((library, storage, through), member, scale, one=not batch)
            samples.divergences += theirs.divergences()


def ends(cluster: Processes) -> list[tuple[str, Process]]:
    """Through whom to measure."""
    leader, (follower, _) = cluster.roles()
    return [("leader", leader), ("follower", follower)]


def line(first: str, second: str, third: str, figures: Figures, digits: int | None = None) -> str:
    """One line of the table."""
    cells = []
    for column in COLUMNS:
        places = digits if digits is not None else 2 if column in LESS_IS_BETTER else 0
        cells.append(f"{figures[column]:12.{places}f}" if column in figures else f"{'-':>12}")
    return f"{first:8} {second:9} {third:10}{''.join(cells)}"


def better(one: Figures, other: Figures) -> Figures:
    """The better figure of each column."""
    result = {**other, **one}
    for column in one.keys() & other.keys():
        choose = min if column in LESS_IS_BETTER else max
        result[column] = choose(one[column], other[column])
    return result


def ratio(ours: Figures, theirs: Figures) -> Figures:
    """How many times better ours is."""
    return {
        column: theirs[column] / ours[column] if column in LESS_IS_BETTER else ours[column] / theirs[column]
        for column in ours.keys() & theirs.keys()
    }


def run(rounds: int, scale: float) -> None:
    """All of it."""
    python: Path | None = None
    try:
        python = interpreter()
    except NotInstalled as error:
        print(f"PySyncObj could not be installed, p2praft is measured alone: {error}")
    samples = Samples()
    for _ in range(rounds):
        for storage in ("memory", "durable"):
            measure_round(samples, storage, python, scale)
    print(f"three processes on this machine, default settings, commands of a few bytes; medians of {rounds} rounds")
    print(f"{'storage':8} {'through':9} {'':10}{''.join(f'{column:>12}' for column in COLUMNS)}")
    for storage in ("memory", "durable"):
        for through in ("leader", "follower"):
            theirs = better(
                samples.median(("PySyncObj without batches", storage, through)),
                samples.median(("PySyncObj with batches", storage, through)),
            )
            print(line(storage, through, "PySyncObj", theirs))
            for name in our_engines():
                ours = samples.median((name, storage, through))
                print(line("", "", name, ours))
                if theirs:
                    print(line("", "", "ratio", ratio(ours, theirs), digits=2))
    if "with qh3" in our_engines():
        print("With qh3: p2praft with the extra fast and P2PRAFT_QUIC=qh3; the rows above it are the default, aioquic.")
    if python:
        print(f"PySyncObj {VERSION}: plain TCP; the better of appendEntriesUseBatch on and off for each figure.")
        print("Durable is not the same: p2praft acknowledges what a majority has synchronised to disk; PySyncObj's")
        print("journal is a memory map that it does not synchronise: it outlives the process, not a loss of power.")
        print(f"Its members warned {samples.divergences} times that their state may have diverged.")
    for failure in samples.failures:
        print(f"did not come to an end: {failure}")


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="fewer or more commands")
    options = parser.parse_args()
    run(options.rounds, options.scale)


if __name__ == "__main__":
    main()
