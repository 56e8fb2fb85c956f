"""``python -m tests.linearizability --seeds N``: more runs of a group under faults, in virtual time."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from functools import partial

import anyio
import trio.testing

from tests.linearizability.test_group import SECONDS, run


def main() -> int:
    """Run the seeds, each with durable and with volatile logs; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.linearizability")
    parser.add_argument("--seeds", type=int, default=20, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of virtual time under faults")
    options = parser.parse_args()
    total, failed = Counter[str](), 0
    for seed in range(options.first, options.first + options.seeds):
        for durable in (True, False):
            clock = trio.testing.MockClock(autojump_threshold=0)
            try:
                load, faults = anyio.run(
                    partial(run, seed, durable=durable, seconds=options.seconds),
                    backend="trio",
                    backend_options={"clock": clock},
                )
            except Exception:
                failed += 1
                print(f"seed {seed}, durable={durable}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            else:
                total += load.counts + faults
    print(f"{2 * options.seeds} runs, {failed} failed: {dict(sorted(total.items()))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
