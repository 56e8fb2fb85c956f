"""``python -m tests.simulation --seeds N``: soak; ``--seed N --verbose``: replay one run with its transcript."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation.ledger import Violation
from tests.simulation.run import play

COUNTED = (
    "abandons",
    "differs",
    "disks burnt",
    "hung disks",
    "late newcomers",
    "leaves with a crash",
    "majorities burnt",
    "old copies",
    "only observers left",
    "reborn",
    "recovers",
    "renewed",
    "revived",
    "sealed",
    "stranded",
    "visitors",
    "wrong recovers",
)
"""Of these it is also said in how many seeds they happened: a fault that never fires is not tested."""


def _play(seed: int) -> tuple[Counter[str], str]:
    try:
        return play(seed), ""
    except Violation as violation:
        return Counter(), str(violation)


def main() -> int:
    """Run the seeds; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--verbose", action="store_true", help="print the transcript's end on failure")
    parser.add_argument("--first-failure", action="store_true", help="stop at the first seed that fails")
    options = parser.parse_args()
    if options.seed is not None:
        try:
            print(dict(play(options.seed, verbose=options.verbose)))
        except Violation as violation:
            print(violation)
            return 1
        return 0
    begin, total, failed = time.monotonic(), Counter[str](), 0
    with multiprocessing.Pool(options.jobs) as pool:
        for counts, problem in pool.imap_unordered(_play, range(options.first, options.first + options.seeds), 8):
            total.update(counts)
            total.update({f"seeds with {name}": 1 for name in counts if name in COUNTED})
            if problem:
                failed += 1
                print(problem, file=sys.stderr)
                if options.first_failure:
                    return 1
    print(f"{options.seeds} seeds, {failed} failed, {time.monotonic() - begin:.0f} s: {dict(sorted(total.items()))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
