"""How long a member takes to catch up that was away, and what that costs those who write meanwhile.

Run it: ``python -m benchmarks.catchup --entries 100000``

With the default settings the member fetches a snapshot and what came after it; with ``--snapshot-every`` above
``--entries`` it is sent every entry.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from benchmarks.cluster import Cluster, Process
from p2praft import ConsensusConfig

WIDTH = 16
"""Commands that each of the others has under way."""
STEP = 5000
"""Entries after which it says how far it is."""
SECONDS = 5.0
"""How long the writers' rate is measured before and after."""


def begin_writing(writers: Sequence[Process]) -> None:
    """All of them write."""
    for writer in writers:
        writer.ask(do="begin writing", width=WIDTH)


def end_writing(writers: Sequence[Process]) -> float:
    """They stop; how many commands a second they had acknowledged together."""
    rates: list[float] = [writer.ask(do="end writing")["per_second"] for writer in writers]
    return sum(rates)


def rate(writers: Sequence[Process]) -> float:
    """Commands a second while nothing else happens."""
    begin_writing(writers)
    time.sleep(SECONDS)
    return end_writing(writers)


def run(entries: int, members: int, snapshot_every: int, *, durable: bool) -> None:
    """Kill one, go on without it, take it back."""
    with Cluster(members, durable=durable, arguments=["--snapshot-every", str(snapshot_every)]) as cluster:
        leader, others = cluster.roles()
        absent = others[-1]
        writers = [leader, *others[:-1]]
        leader.ask(do="sequential", count=100)
        cluster.end(absent, absent.kill)
        before = leader.ask(do="state")["log"]
        print(f"one of {members} members is away; {entries} commands, each an entry of its own", flush=True)
        begin = time.monotonic()
        for part in range(0, entries, STEP):
            leader.ask(do="entries", count=min(STEP, entries - part))
            print(f"\r{min(part + STEP, entries)} of {entries}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        seconds = time.monotonic() - begin
        log = leader.ask(do="state")["log"]
        print(f"{entries} commands made {log - before} log entries in {seconds:.1f} s")

        without = rate(writers)
        begin_writing(writers)
        restarted = cluster.start(absent)
        up = time.monotonic()
        goal = leader.ask(do="state")["committed"]
        caught_up = restarted.ask(do="reach", index=goal)["at"]
        during = end_writing(writers)
        after = rate(writers)
        print(
            f"it was up again {up - restarted.started:.2f} s after its start, "
            f"and {caught_up - up:.2f} s later had applied all {goal} entries that were committed then"
        )
        print(
            f"the others' writers, {WIDTH} commands under way each: {without:.0f} commands/s before, {during:.0f} during "
            f"({during / without:.2f} of before, over {caught_up - restarted.started:.1f} s), {after:.0f} after"
        )


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catchup", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="in memory: the member comes back as a new one")
    parser.add_argument("--snapshot-every", type=int, default=ConsensusConfig().snapshot_every)
    options = parser.parse_args()
    run(options.entries, options.members, options.snapshot_every, durable=not options.memory)


if __name__ == "__main__":
    main()
