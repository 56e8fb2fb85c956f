"""Whether a large state's snapshot holds anything up: writes go on while it is taken and while a fresh member joins.

Run it: ``python -m benchmarks.snapshot --megabytes 200``

It knows no more than the public interface tells: when ``StateMachine.snapshot`` was called, and when the fresh member
has the whole state.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from benchmarks.cluster import Cluster, Process, leader_changes
from benchmarks.member import VALUE

EVERY = 2000
"""Entries between snapshots: enough that the first one comes when the ballast is there."""
STEPS = 100
"""Commands that load the ballast."""
AFTERWARDS = 5.0
"""Seconds for which a snapshot is given time to be written, and writing goes on."""


def load(cluster: Cluster, values: int) -> None:
    """Load the ballast, and wait until every member has it."""
    leader, _ = cluster.roles()
    for _ in range(STEPS):
        leader.ask(do="ballast", count=values // STEPS)
    log = leader.ask(do="state")["log"]
    for member in cluster.members:
        member.ask(do="reach", index=log)
    if log >= EVERY:
        raise RuntimeError(f"the ballast took {log} entries, so that a snapshot came before it was there")


def begin_writing(writers: Mapping[str, Process]) -> None:
    """Each writes one command after the other."""
    for writer in writers.values():
        writer.ask(do="begin writing", width=1)


def end_writing(writers: Mapping[str, Process], title: str) -> None:
    """They stop, and what they met is printed."""
    print(title)
    for where, writer in writers.items():
        written = writer.ask(do="end writing")
        print(
            f"  a writer at the {where:8}: longest gap {written['longest_gap'] * 1e3:6.0f} ms, "
            f"usual latency {written['usual'] * 1e3:.1f} ms, {written['per_second']:.0f} commands/s",
            flush=True,
        )


def wait_captured(cluster: Cluster, counts: list[int]) -> None:
    """Wait until every member's state machine was asked for its state once more than ``counts``."""
    while True:
        states = cluster.states()
        if all(len(state["captured"]) > count for state, count in zip(states, counts, strict=True)):
            return
        if min(state["log"] for state in states) > 2 * EVERY:
            raise RuntimeError("no snapshot was taken, though it was due")
        time.sleep(0.1)


def run(megabytes: int, *, durable: bool) -> None:
    """Load, write past the snapshot, let one more join."""
    values = megabytes * 1024 * 1024 // VALUE // STEPS * STEPS
    print(f"three members{' on disk' if durable else ' in memory'}, a state of {values} values of {VALUE} bytes each")
    with Cluster(3, durable=durable, arguments=["--snapshot-every", str(EVERY)]) as cluster:
        load(cluster, values)
        before = cluster.states()
        present = list(cluster.members)
        leader, (follower, _) = cluster.roles()
        writers = {"leader": leader, "follower": follower}

        begin_writing(writers)
        time.sleep(1)
        end_writing(writers, "before")

        begin_writing(writers)
        wait_captured(cluster, [len(state["captured"]) for state in before])
        time.sleep(AFTERWARDS)
        end_writing(writers, "while a snapshot was taken")

        begin_writing(writers)
        joiner = cluster.start()
        goal = leader.ask(do="state")["committed"]
        reached = joiner.ask(do="reach", index=goal)["at"]
        end_writing(writers, "while a fresh member joined")
        held = joiner.ask(do="state")["ballast"]
        print(
            f"it had applied all {goal} entries and held {held} of {values} values {reached - joiner.started:.1f} s after its start"
        )
        after = [member.ask(do="state") for member in present]
        print(f"leader changes: {leader_changes(before, after)}; there must be none")


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshot", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--memory", action="store_true", help="the log and the snapshot in memory, not on disk")
    options = parser.parse_args()
    run(options.megabytes, durable=not options.memory)


if __name__ == "__main__":
    main()
