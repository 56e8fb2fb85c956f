"""``python -m tests.chaos --seconds N [--nodes N] [--durable | --memory | --blackout] [--seed S]``."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

import anyio

from tests.chaos import blackout, driver
from tests.chaos.process import Broken


def main() -> int:
    """One run; 1 and the explanation if it is not linearizable, or a member broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Real processes under faults.")
    parser.add_argument("--seconds", type=float, default=30.0, help="under load and faults")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the dice; random unless given")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--durable", action="store_true", help="members keep their logs (the default)")
    kind.add_argument("--memory", action="store_true", help="logs die with their processes")
    kind.add_argument("--blackout", action="store_true", help="kill all durable members at once, again and again")
    options = parser.parse_args()
    plan = driver.Plan(seconds=options.seconds, nodes=options.nodes, durable=not options.memory, seed=options.seed)
    # As Ctrl-C: a paused member cannot notice that its driver is gone.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    run = blackout.run if options.blackout else driver.run
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        try:
            report = anyio.run(run, plan, Path(folder), backend="trio")
        except (Broken, BaseExceptionGroup) as error:
            if (problems := leaves(error)) is None:
                raise
            print(f"seed {plan.seed}:", *problems, sep="\n")
            return 1
    print(report)
    if report.violation is not None:
        print(report.violation)
    return 0 if report.violation is None else 1


def leaves(error: BaseException) -> list[Broken] | None:
    """What members did wrong, out of the groups that tasks wrap it in; None if there is anything else."""
    if isinstance(error, Broken):
        return [error]
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [leaves(part) for part in error.exceptions]
    return None if None in found else [leaf for part in found if part for leaf in part]


if __name__ == "__main__":
    sys.exit(main())
