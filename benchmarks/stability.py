"""Whether leaders stay while nothing is wrong: counts their changes while idle and under full load.

Run it: ``python -m benchmarks.stability --idle-minutes 10 --load-minutes 10``
"""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import Cluster, leader_changes

WINDOW = 256


def part(title: str, cluster: Cluster, minutes: float, *, load: bool) -> None:
    """One part: watch for so many minutes, and say what happened."""
    before = cluster.states()
    if load:
        for member in cluster.members:
            member.ask(do="begin writing", width=WINDOW)
    time.sleep(minutes * 60)
    written = [member.ask(do="end writing") for member in cluster.members] if load else []
    after = cluster.states()
    term, end = (max(state["term"] for state in states) for states in (before, after))
    line = (
        f"{title:5} {minutes:6.2f} min   term {term} at begin, {end} at end: {end - term} elections, "
        f"{leader_changes(before, after)} leader changes"
    )
    if load:
        rate = sum(each["per_second"] for each in written)
        line += f"; {rate:.0f} commands/s, longest gap {max(each['longest_gap'] for each in written) * 1e3:.0f} ms"
    print(line, flush=True)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stability", description=__doc__)
    parser.add_argument("--idle-minutes", type=float, default=10)
    parser.add_argument("--load-minutes", type=float, default=10)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--durable", action="store_true", help="store the log")
    options = parser.parse_args()
    kind = "durable" if options.durable else "in memory"
    print(f"{options.members} members, {kind}, default settings; under load each has {WINDOW} commands under way")
    with Cluster(options.members, durable=options.durable) as cluster:
        part("idle", cluster, options.idle_minutes, load=False)
        part("load", cluster, options.load_minutes, load=True)


if __name__ == "__main__":
    main()
