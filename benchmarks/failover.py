"""What losing the leader costs writers: killed, stopped in good order, or asked to hand over.

Run it: ``python -m benchmarks.failover --trials 10``
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.cluster import Cluster, Process

AROUND = 0.5
"""Seconds for which a writer writes before the leader goes."""
AFTERWARDS = 1.5
"""And after it went: longer than an election takes."""


def kill() -> float:
    """SIGKILL of the leader; seconds until a survivor's next write is acknowledged."""
    with Cluster() as cluster:
        leader, (follower, _) = cluster.roles()
        follower.ask(do="sequential", count=20)
        killed = time.monotonic()
        cluster.end(leader, leader.process.kill)
        follower.tell(do="first write")
        seconds: float = follower.hear()["at"] - killed
        leader.wait()
        return seconds


def part_in_good_order() -> tuple[float, float]:
    """The leader hands over, and then the new one's process ends in good order; what each costs a writer, in seconds."""
    with Cluster() as cluster:
        leader, others = cluster.roles()
        handed_over = cost(others[0], lambda: leader.ask(do="hand over"))
        leader, others = cluster.roles()
        stopped = cost(others[0], lambda: cluster.end(leader, leader.wait))
        return handed_over, stopped


def cost(writer: Process, event: Callable[[], None]) -> float:
    """The longest time without an acknowledgement for a writer who writes all the time, less its usual latency."""
    writer.ask(do="sequential", count=20)
    writer.ask(do="begin writing", width=1)
    time.sleep(AROUND)
    event()
    time.sleep(AFTERWARDS)
    written = writer.ask(do="end writing")
    seconds: float = written["longest_gap"] - written["usual"]
    return seconds


def show(title: str, seconds: Sequence[float]) -> None:
    """The median and all values, in milliseconds."""
    values = " ".join(f"{value * 1e3:.0f}" for value in sorted(seconds))
    print(f"{title:34} median {statistics.median(seconds) * 1e3:5.0f} ms   of {values}", flush=True)


def run(trials: int) -> None:
    """All of it."""
    print(f"what losing the leader costs a writer at another member; three in memory, {trials} trials each")
    show("killed, next acknowledged write", [kill() for _ in range(trials)])
    parted = [part_in_good_order() for _ in range(trials)]
    show("stopped in good order, longest gap", [stopped for _, stopped in parted])
    show("handed over, longest gap", [handed_over for handed_over, _ in parted])


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__)
    parser.add_argument("--trials", type=int, default=10, help="how often each")
    run(parser.parse_args().trials)


if __name__ == "__main__":
    main()
